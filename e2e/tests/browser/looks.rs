//! Tests the layout of the page at several widths, in light and dark mode and in both languages,
//! and its code for the reader's own application.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{
    browser::Browser,
    server::Server,
    uploads::{image, text, written},
};

fn open_details(open: bool) -> String {
    format!("document.querySelectorAll('details').forEach((one) => {{ one.open = {open}; }})")
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn it_fits_every_width_scheme_and_language() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let long = "a-name-without-any-space-".repeat(8) + ".txt";
    let long = written(folder.path(), &long, b"hello");
    let refused = written(folder.path(), "script.html", b"hello");
    let browser = Browser::page(&server.url()).await;
    let photographs = std::env::var_os("BROWSER_SCREENSHOTS").map(PathBuf::from);
    for (width, height) in [(1280, 900), (390, 844), (320, 640)] {
        for (scheme, language) in [
            ("light", "en"),
            ("dark", "en"),
            ("light", "zh-CN"),
            ("dark", "zh-CN"),
        ] {
            let case = format!("{width}-{scheme}-{language}.png");
            browser.screen(width, height, scheme).await;
            browser.languages(language).await;
            browser.reload().await;
            if let Some(to) = &photographs {
                browser.photograph(&to.join(format!("empty-{case}"))).await;
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
            assert_eq!(browser.value(over).await, 0, "{case}");
            if let Some(to) = &photographs {
                browser.photograph(&to.join(format!("open-{case}"))).await;
                browser.run(&open_details(false)).await;
                browser.photograph(&to.join(format!("full-{case}"))).await;
            }
        }
    }
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn the_steps_stay_beside_the_files() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..12)
        .map(|number| written(folder.path(), &format!("{number}.txt"), b"hello"))
        .collect();
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let browser = Browser::page(&server.url()).await;
    browser.screen(1280, 700, "light").await;
    browser.choose(&files).await;
    browser.until_cards("done", 12).await;
    browser
        .until("document.querySelectorAll('#received li').length === 12")
        .await;
    // Scrolled down to the queue, the title of the steps is still visible.
    let top = "document.querySelector('#steps-title').getBoundingClientRect().top";
    browser
        .run("document.querySelector('#queue').scrollIntoView({ block: 'start' })")
        .await;
    browser.until("scrollY > 100").await;
    let top = browser.value(top).await.as_f64().unwrap();
    assert!((0.0..200.0).contains(&top), "{top}");
    browser.close().await;
}

/// Returns the code that the page shows, and the file that it names.
async fn listing(browser: &Browser, place: &str) -> (String, String) {
    let file = browser
        .value(&format!(
            "document.querySelector('{place} .mono').textContent"
        ))
        .await;
    let code = browser
        .value(&format!(
            "document.querySelector('{place} code').textContent"
        ))
        .await;
    (
        file.as_str().unwrap().to_owned(),
        code.as_str().unwrap().to_owned(),
    )
}

/// Asserts that a file contains the lines of the code one after the other, at any indentation.
fn assert_part_of(file: &str, code: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let code: Vec<_> = code.lines().map(str::trim).collect();
    assert!(
        code.len() > 3 && lines.windows(code.len()).any(|part| part == code),
        "{file} does not contain {code:#?}"
    );
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn the_code_for_an_application_is_compiled_code() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    let names = "[...document.querySelectorAll('#recipes input')].map((input) => input.value)";
    let names = browser.value(names).await;
    let names: Vec<String> = serde_json::from_value(names).unwrap();
    assert_eq!(names.len(), 8, "{names:?}");
    for name in names {
        browser
            .click(&format!("#recipes input[value={name}]"))
            .await;
        let (file, code) = listing(&browser, ".recipe > .listing").await;
        assert_part_of(&file, &code);
        let more = "document.querySelector('.recipe details') !== null";
        let more = browser.value(more).await == true;
        assert_eq!(more, name != "browser", "{name}");
        if more {
            let (file, code) = listing(&browser, ".recipe details").await;
            assert_part_of(&file, &code);
        }
    }
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}
