//! The example `server` and its page, in a real browser.
//!
//! Needs `chromedriver` and Chromium (`apt-get install chromium chromium-driver`). With `BROWSER_SCREENSHOTS` set to a
//! folder, the page is photographed there, wide and narrow, light and dark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod browser;
mod looks;
mod plupload;
mod server;
mod settings;
mod uploads;
