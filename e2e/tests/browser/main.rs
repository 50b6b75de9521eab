//! Tests the example `server` and its page in a real browser.
//!
//! Requires Chromium and `chromedriver` (`apt-get install chromium chromium-driver`). If
//! `BROWSER_SCREENSHOTS` names a folder, the tests write screenshots of the page there, wide and
//! narrow, light and dark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod attacks;
mod browser;
mod console;
mod cutter;
mod libraries;
mod looks;
mod many;
mod npm;
mod outage;
mod parts;
mod parts_app;
mod pausing;
mod plupload;
mod server;
mod settings;
mod upload_app;
mod uploads;
mod uppy_parts;
mod v4;
