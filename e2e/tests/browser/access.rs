//! Tests that everyone can use the page: keyboard, touch, screen readers, both languages.

use std::path::PathBuf;

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    npm::install,
    server::Server,
    uploads::{image, text, written},
};

const AXE: &str = "axe-core@4.14.1";

/// The outline of the focused element, or of the visible one around an invisible input.
const OUTLINE: &str = "getComputedStyle(
    document.activeElement.closest('.drop, .choice') ?? document.activeElement
).outlineStyle";

const EXPERIMENTS: [&str; 5] = ["#forge", "#replay", "#tamper", "#expire", "#fail"];

/// Uploads files of all outcomes and runs every experiment.
async fn use_everything(browser: &Browser) {
    let folder = tempfile::tempdir().unwrap();
    let refused = written(folder.path(), "page.html", b"<p>");
    browser
        .choose(&[&text(folder.path()), &image(folder.path()), &refused])
        .await;
    browser.until_cards("done", 2).await;
    browser.until_cards("failed", 1).await;
    browser
        .until("document.querySelectorAll('#received li').length >= 2")
        .await;
    for experiment in EXPERIMENTS {
        browser.cheat(experiment).await;
    }
}

/// The findings of axe, and how many elements it could not judge, by rule.
const AUDIT: &str = "axe.run(document).then(({ violations, incomplete }) => [
    violations.map(({ id, nodes }) => [id, nodes.length, nodes[0].html, nodes[0].failureSummary]),
    Object.fromEntries(incomplete.map(({ id, nodes }) => [id, nodes.length])),
])";

async fn assert_no_finding(browser: &Browser, case: &str) {
    // axe cannot judge what a scrolling element hides, so let the lists grow.
    browser
        .run(
            "for (const id of ['queue', 'received', 'steps-home']) {
               const { style } = document.getElementById(id);
               style.maxHeight = 'none';
               style.overflow = 'visible';
               style.position = 'static';
             }",
        )
        .await;
    let found = browser.value(AUDIT).await;
    assert_eq!(found[0], json!([]), "{case}");
    let unjudged = found[1].as_object().unwrap();
    assert!(
        unjudged.keys().all(|rule| rule == "color-contrast"),
        "{case}: {unjudged:?}"
    );
    println!("{case}: {unjudged:?}");
}

#[ignore = "needs npm, chromium and chromedriver"]
#[tokio::test]
async fn axe_finds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &[AXE]);
    let axe = folder.path().join("node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(axe).unwrap();
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    for (width, height) in [(1280, 900), (390, 844)] {
        for scheme in ["light", "dark"] {
            for language in ["en", "zh-CN"] {
                let case = format!("{width} {scheme} {language}");
                browser.screen(width, height, scheme).await;
                browser.languages(language).await;
                browser.reload().await;
                browser.run(&axe).await;
                assert_no_finding(&browser, &case).await;
                use_everything(&browser).await;
                assert_no_finding(&browser, &format!("{case}, used")).await;
                browser
                    .run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                    .await;
                assert_no_finding(&browser, &format!("{case}, open")).await;
                if width == 390 {
                    browser.click("#how").await;
                    assert_no_finding(&browser, &format!("{case}, sheet")).await;
                }
            }
        }
    }
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
    // The result is next, with a button that shows its steps.
    browser.press(Key::Tab.into()).await;
    browser
        .until("document.activeElement.closest('#fail-outcome')")
        .await;
    // Then the switch of the callback server.
    browser.press(Key::Tab.into()).await;
    browser
        .until("document.activeElement.id === 'stopped'")
        .await;
    assert_eq!(browser.value(OUTLINE).await, "solid");
    // The arrow keys choose a framework.
    browser.press(Key::Tab.into()).await;
    browser
        .until("document.activeElement.value === 'axum'")
        .await;
    assert_eq!(browser.value(OUTLINE).await, "solid");
    browser.press(Key::Right.into()).await;
    browser
        .until("document.activeElement.value === 'hyper'")
        .await;
    let file = browser.text(".recipe .mono").await;
    assert!(file.ends_with("hyper.rs"), "{file}");
    // Clearing the list removes the button that was pressed. The focus goes to the file input.
    browser
        .run("document.querySelector('#clear').focus()")
        .await;
    browser.press(' ').await;
    browser.until("document.activeElement.id === 'files'").await;
    assert_eq!(
        browser
            .value("document.querySelector('#queue').children.length")
            .await,
        0
    );
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn lists_that_scroll_are_reached_by_keyboard() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<_> = (0..15)
        .map(|number| written(folder.path(), &format!("{number}.txt"), b"hello"))
        .collect();
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let browser = Browser::page(&server.url()).await;
    browser.choose(&files).await;
    browser
        .until("document.querySelectorAll('#received li').length === 15")
        .await;
    for list in ["queue", "received"] {
        browser
            .until(&format!("document.getElementById('{list}').tabIndex === 0"))
            .await;
        browser
            .run(&format!("document.getElementById('{list}').focus()"))
            .await;
        assert_eq!(browser.value("document.activeElement.id").await, list);
        browser.press(Key::End.into()).await;
        browser
            .until(&format!("document.getElementById('{list}').scrollTop > 50"))
            .await;
    }
    browser.close().await;
}

/// The visible controls that are smaller than 44 by 44 pixels.
const SMALL_TARGETS: &str =
    "[...document.querySelectorAll('button, a, summary, input[type=file], .choice')]
        .filter((one) => one.checkVisibility())
        .map((one) => [one.id || one.textContent || one.className, one.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 44 || height < 44)
        .map(([name, { width, height }]) => `${name.trim()}: ${width} by ${height}`)";

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn a_phone_has_large_targets_and_the_steps_in_a_dialog() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    let hint = "getComputedStyle(document.querySelector('.hint')).display === 'none'";
    assert_eq!(browser.value(hint).await, false);
    browser.screen(390, 844, "light").await;
    browser.reload().await;
    // A touch screen drops nothing.
    assert_eq!(browser.value(hint).await, true);
    assert_eq!(browser.value(SMALL_TARGETS).await, json!([]));
    use_everything(&browser).await;
    assert_eq!(browser.value(SMALL_TARGETS).await, json!([]));

    // The steps open over the page, and closing them returns to the button.
    let steps = ".card[data-state=done] .actions button";
    browser.click(steps).await;
    browser
        .until(
            "document.querySelector('#sheet').open && document.activeElement.id === 'steps-title'",
        )
        .await;
    assert_eq!(browser.value(SMALL_TARGETS).await, json!([]));
    let shown = browser.text("#sheet #steps").await;
    assert!(shown.contains("OSS calls your server back"), "{shown}");
    // The button stays in view when the panel scrolls.
    browser
        .run("document.querySelector('#sheet').scrollTop = 400")
        .await;
    browser.click("#steps-close").await;
    browser
        .until("!document.querySelector('#sheet').open")
        .await;
    let returned = "document.activeElement.matches('.card[data-state=done] .actions button')";
    browser.until(returned).await;
    // So does the escape key.
    browser.click("#how").await;
    browser.until("document.querySelector('#sheet').open").await;
    browser.press(Key::Escape.into()).await;
    browser
        .until("!document.querySelector('#sheet').open")
        .await;
    browser.until("document.activeElement.id === 'how'").await;
    browser.close().await;
}

/// Texts and names that the user perceives, without code and without what servers and files name.
const PERCEIVED: &str = "(() => {
    const foreign = '[lang]:not(html), code, script, noscript, .name, .mono, #steps-of, time';
    const texts = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const { parentElement: parent, data } = walker.currentNode;
      if (!parent.closest(foreign)) texts.push(data.trim());
    }
    for (const element of document.querySelectorAll('[aria-label], [alt], [placeholder]')) {
      if (element.closest(foreign)) continue;
      for (const name of ['aria-label', 'alt', 'placeholder']) {
        texts.push((element.getAttribute(name) ?? '').trim());
      }
    }
    return texts.filter(Boolean);
})()";

fn is_chinese(letter: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&letter)
}

/// Whether a text is the same in both languages: no word, a size, a type, or a framework.
fn is_neutral(text: &str) -> bool {
    const FRAMEWORKS: [&str; 7] = ["axum", "hyper", "tonic", "Loco", "warp", "poem", "salvo"];
    let word = |word: &str| {
        word.chars().any(char::is_alphabetic)
            && !["B", "KiB", "MiB"].contains(&word)
            && !word.contains('/')
    };
    FRAMEWORKS.contains(&text) || !text.split([' ', '·']).any(word)
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn every_text_is_in_the_language_of_the_browser() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    let shape = |language: &str| {
        format!(
            "import('/page/texts.js').then(({{ TEXTS }}) =>
                Object.entries(TEXTS.{language}).map(([name, text]) => name + typeof text).sort())"
        )
    };
    let (english, chinese) = (shape("en"), shape("zh"));
    assert_eq!(browser.value(&english).await, browser.value(&chinese).await);
    for (languages, expected) in [
        ("en-GB,en", "en"),
        ("zh-CN,zh,en", "zh-CN"),
        ("fr-FR,zh-TW,en", "zh-CN"),
        ("fr-FR,de", "en"),
    ] {
        browser.languages(languages).await;
        browser.reload().await;
        let language = browser.value("document.documentElement.lang").await;
        assert_eq!(language, expected, "{languages}");
        use_everything(&browser).await;
        let texts = browser.value(PERCEIVED).await;
        let texts: Vec<String> = serde_json::from_value(texts).unwrap();
        assert!(texts.len() > 100, "{texts:#?}");
        let wrong: Vec<_> = texts
            .iter()
            .filter(|text| {
                let chinese = text.chars().any(is_chinese);
                if expected == "en" {
                    chinese
                } else {
                    !chinese && !is_neutral(text)
                }
            })
            .collect();
        assert_eq!(wrong, Vec::<&String>::new(), "{languages}");
    }
    let failed = |entry: &&Value| entry["source"] != "network";
    let console = browser.console().await;
    assert_eq!(console.iter().find(failed), None);
    browser.close().await;
}
