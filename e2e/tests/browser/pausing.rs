//! Tests large files on the page: pause and resume, a network that goes, and a reload.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{browser::Browser, many::throttle, server::Server, uploads::sized};

/// A file of several parts, which takes seconds at [`SLOW`].
const SIZE: u64 = 96 << 20;
/// Bytes per second.
const SLOW: i64 = 16 << 20;

const STATE: &str = "document.querySelector('.card .state').textContent";

/// Opens the page with a slow network, and uploads a large file until OSS has some of its parts.
async fn begun(server: &Server, film: &Path) -> Browser {
    let browser = Browser::page(&server.url()).await;
    browser.devtools("Network.enable", json!({})).await;
    throttle(&browser, SLOW).await;
    browser.choose(&[film]).await;
    until_parts(&browser).await;
    browser
}

/// Waits until OSS has at least two parts.
async fn until_parts(browser: &Browser) {
    let parts = format!("Number({STATE}.match(/(\\d+)( of |\\/)\\d+/)?.[1]) >= 2");
    browser.until(&parts).await;
}

async fn offline(browser: &Browser, offline: bool) {
    let network = json!({
        "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1,
    });
    browser
        .devtools("Network.emulateNetworkConditions", network)
        .await;
}

/// Asserts that the file was received once, as a whole.
fn assert_received(server: &Server) {
    let received = server.received();
    assert_eq!(received.len(), 1, "{received:#?}");
    assert_eq!(received[0]["size"], SIZE);
    assert_eq!(received[0]["filename"], "film.mp4");
    assert_eq!(received[0]["mimeType"], "video/mp4");
}

const BUTTON: &str = "[...document.querySelectorAll('.card .actions button')]
    .find((button) => button.textContent === ";

async fn press(browser: &Browser, text: &str) {
    browser.until(&format!("{BUTTON}'{text}')")).await;
    browser.run(&format!("{BUTTON}'{text}').click()")).await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn a_large_file_is_paused_and_resumed() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let film = sized(folder.path(), "film.mp4", SIZE);
    let browser = begun(&server, &film).await;
    press(&browser, "Pause").await;
    browser.until_cards("paused", 1).await;
    let state = browser.value(STATE).await;
    assert!(state.as_str().unwrap().starts_with("Paused at "), "{state}");
    assert!(browser.text("#summary").await.contains("1 paused"));

    // A paused upload leaves its place to others, and stays where it is.
    browser
        .run(
            "const data = new DataTransfer();
             for (const name of ['1.txt', '2.txt', '3.txt', '4.txt']) {
               data.items.add(new File(['hello'], name, { type: 'text/plain' }));
             }
             const options = { dataTransfer: data, bubbles: true, cancelable: true };
             document.getElementById('drop').dispatchEvent(new DragEvent('drop', options));",
        )
        .await;
    browser.until_cards("done", 4).await;
    let paused = "document.querySelector('.card[data-state=paused] .state').textContent";
    assert_eq!(browser.value(paused).await, state);

    throttle(&browser, -1).await;
    press(&browser, "Resume").await;
    browser.until_cards("done", 5).await;
    let received = server.received();
    assert_eq!(received.len(), 5);
    assert_eq!(received[0]["size"], SIZE, "{received:#?}");

    // Its steps are those of an upload in parts.
    let show = "document.querySelector('.card.parts .actions button').click()";
    browser.run(show).await;
    browser
        .until("document.querySelectorAll('.step[data-state=done]').length === 6")
        .await;
    let names = "[...document.querySelectorAll('.step')].map((step) => step.dataset.step)";
    assert_eq!(
        browser.value(names).await,
        json!(["sign", "parts", "complete", "callback", "layer", "answer"])
    );
    let passed = "[...document.querySelectorAll('.checks')]
        .map((list) => list.querySelectorAll('[data-state=passed]').length)";
    assert_eq!(browser.value(passed).await, json!([4, 11]));
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn a_large_file_is_cancelled() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let film = sized(folder.path(), "film.mp4", SIZE);
    let browser = begun(&server, &film).await;
    press(&browser, "Cancel").await;
    browser.until_cards("cancelled", 1).await;
    let records = "Object.keys(localStorage).length";
    assert_eq!(browser.value(records).await, 0);
    throttle(&browser, -1).await;
    press(&browser, "Try again").await;
    browser.until_cards("done", 1).await;
    assert_received(&server);
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn the_page_says_that_the_network_is_gone() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let film = sized(folder.path(), "film.mp4", SIZE);
    let browser = begun(&server, &film).await;
    offline(&browser, true).await;
    browser
        .until(&format!(
            "{STATE} === 'No network. The upload continues when it is back.'"
        ))
        .await;
    offline(&browser, false).await;
    browser.until_cards("done", 1).await;
    assert_received(&server);
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn a_large_file_continues_after_a_reload() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let film = sized(folder.path(), "film.mp4", SIZE);
    let browser = begun(&server, &film).await;
    browser.reload().await;
    browser
        .until("!document.querySelector('#unfinished').hidden")
        .await;
    let unfinished = browser.text("#unfinished").await;
    for part in ["Choose the same file again", "film.mp4", "96 MiB", "parts"] {
        assert!(unfinished.contains(part), "{part} is not in {unfinished}");
    }
    throttle(&browser, -1).await;
    browser.choose(&[&film]).await;
    browser.until_cards("done", 1).await;
    browser
        .until("document.querySelector('#unfinished').hidden")
        .await;
    assert_received(&server);

    // A record can be forgotten.
    browser
        .run("localStorage.clear(); document.querySelector('#clear').click()")
        .await;
    throttle(&browser, SLOW).await;
    browser.choose(&[&film]).await;
    until_parts(&browser).await;
    browser.reload().await;
    browser.click("#unfinished button").await;
    let hidden = browser.value("document.querySelector('#unfinished').hidden");
    assert_eq!(hidden.await, true);
    assert_eq!(browser.value("Object.keys(localStorage).length").await, 0);
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn large_files_fit_every_width_and_language() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let long = "a-name-without-any-space-".repeat(4);
    let film = sized(folder.path(), "film.mp4", SIZE);
    let long = sized(folder.path(), &format!("{long}.mp4"), SIZE);
    let photographs = std::env::var_os("BROWSER_SCREENSHOTS").map(PathBuf::from);
    let browser = Browser::page(&server.url()).await;
    browser.devtools("Network.enable", json!({})).await;
    for (width, height) in [(1280, 900), (390, 844), (320, 640)] {
        for (language, pause) in [("en", "Pause"), ("zh-CN", "暂停")] {
            let case = format!("{width}-{language}.png");
            browser.screen(width, height, "light").await;
            browser.languages(language).await;
            browser.run("localStorage.clear()").await;
            browser.reload().await;
            throttle(&browser, SLOW).await;
            browser.choose(&[&film, &long]).await;
            until_parts(&browser).await;
            let photograph = async |name: &str| {
                let over =
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth";
                assert_eq!(browser.value(over).await, 0, "{name} {case}");
                if let Some(to) = &photographs {
                    browser.photograph(&to.join(format!("{name}-{case}"))).await;
                }
            };
            photograph("sending").await;
            press(&browser, pause).await;
            browser.until_cards("paused", 1).await;
            photograph("paused").await;
            offline(&browser, true).await;
            // "No network."
            browser
                .until(
                    "[...document.querySelectorAll('.card[data-state=running] .state')]
                    .some((state) => /^(No network|没有网络)/.test(state.textContent))",
                )
                .await;
            photograph("offline").await;
            offline(&browser, false).await;
            browser.reload().await;
            photograph("unfinished").await;
        }
    }
    browser.close().await;
}
