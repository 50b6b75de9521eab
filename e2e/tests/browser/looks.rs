//! Tests the layout of the page at several widths, in light and dark mode, and its keyboard
//! controls.

use std::path::PathBuf;

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    server::Server,
    uploads::{image, text, written},
};

/// The outline of the focused element, or of the drop zone for the file input inside it.
const OUTLINE: &str = "getComputedStyle(
    document.activeElement.closest('.drop') ?? document.activeElement
).outlineStyle";

fn open_details(open: bool) -> String {
    format!("document.querySelectorAll('details').forEach((one) => {{ one.open = {open}; }})")
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn it_fits_every_width_and_scheme() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let long = "a-name-without-any-space-".repeat(8) + ".txt";
    let long = written(folder.path(), &long, b"hello");
    let refused = written(folder.path(), "script.html", b"hello");
    let browser = Browser::page(&server.url()).await;
    let photographs = std::env::var_os("BROWSER_SCREENSHOTS").map(PathBuf::from);
    for (width, height) in [(1280, 900), (390, 844), (320, 640)] {
        for scheme in ["light", "dark"] {
            let mobile = width < 500;
            let size = json!({
                "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile,
            });
            browser
                .devtools("Emulation.setDeviceMetricsOverride", size)
                .await;
            let media =
                json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser.devtools("Emulation.setEmulatedMedia", media).await;
            browser.client.refresh().await.unwrap();
            browser
                .until(
                    "document.documentElement.dataset.ready && document.querySelector('#live.on')",
                )
                .await;
            if let Some(to) = &photographs {
                let to = to.join(format!("empty-{width}-{scheme}.png"));
                browser.photograph(&to).await;
            }
            browser
                .choose(&[&text(folder.path()), &long, &refused, &image(folder.path())])
                .await;
            browser.until_cards("done", 3).await;
            browser.cheat("#forge").await;
            // With all details open, nothing overflows horizontally.
            browser.run(&open_details(true)).await;
            let text = browser.value("document.body.innerText").await;
            let text = text.as_str().unwrap();
            for hole in ["null", "undefined", "[object", "NaN"] {
                assert!(!text.contains(hole), "{hole} is in {text}");
            }
            let over =
                "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.value(over).await, 0, "{width} {scheme}");
            if let Some(to) = &photographs {
                let open = to.join(format!("open-{width}-{scheme}.png"));
                browser.photograph(&open).await;
                browser.run(&open_details(false)).await;
                let full = to.join(format!("full-{width}-{scheme}.png"));
                browser.photograph(&full).await;
            }
        }
    }
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn it_works_by_keyboard() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    let mut reached = Vec::new();
    for _ in 0..6 {
        browser.press(Key::Tab.into()).await;
        reached.push(browser.value("document.activeElement.id").await);
        assert_eq!(browser.value(OUTLINE).await, "solid", "{reached:?}");
    }
    assert_eq!(
        json!(reached),
        json!(["files", "forge", "replay", "tamper", "expire", "fail"])
    );
    // The space bar presses the focused button, `fail`.
    browser.press(' ').await;
    browser.until_cards("failed", 1).await;
    browser.until("document.activeElement.id === 'fail'").await;
    browser.close().await;
}
