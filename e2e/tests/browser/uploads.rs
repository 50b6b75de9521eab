//! Tests uploads on the page: their progress, their steps, and files that are rejected.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use crate::{browser::Browser, many::throttle, server::Server};

/// An image of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkaPhfDwAEAQH/ABOmlwAAAABJRU5ErkJggg==";

/// Records every value of the progress bars and every state text.
const NOTE_PROGRESS: &str = "
    window.seen = [];
    window.states = [];
    const queue = document.getElementById('queue');
    new MutationObserver((changes) => {
      for (const { target } of changes) if (target.value > 0) window.seen.push(target.value);
    }).observe(queue, { subtree: true, attributes: true, attributeFilter: ['value'] });
    new MutationObserver((changes) => {
      for (const { target } of changes) {
        if (target.className === 'state') window.states.push(target.textContent);
      }
    }).observe(queue, { subtree: true, childList: true })";

pub(crate) fn text(folder: &Path) -> PathBuf {
    written(folder, "notes & <b>.txt", b"hello")
}

pub(crate) fn image(folder: &Path) -> PathBuf {
    written(folder, "pixel.png", &STANDARD.decode(PNG).unwrap())
}

pub(crate) fn written(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

/// Creates a sparse file of `size` bytes, which takes no space on disk.
pub(crate) fn sized(folder: &Path, name: &str, size: u64) -> PathBuf {
    let path = folder.join(name);
    File::create(&path).unwrap().set_len(size).unwrap();
    path
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn three_files_of_different_types_are_uploaded_and_listed() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let video = sized(folder.path(), "film.mp4", 96 << 20);
    let (text, image) = (text(folder.path()), image(folder.path()));
    let browser = Browser::page(&server.url()).await;
    browser.run(NOTE_PROGRESS).await;
    browser.choose(&[&text, &image, &video]).await;
    browser.until_cards("done", 3).await;

    // The progress bar showed intermediate values, and the image has a thumbnail.
    let seen = browser.value("window.seen").await;
    let seen: Vec<f64> = serde_json::from_value(seen).unwrap();
    assert!(
        seen.iter().any(|part| *part > 0.0 && *part < 100.0),
        "{seen:?}"
    );
    let states = browser.value("window.states").await;
    let states: Vec<String> = serde_json::from_value(states).unwrap();
    let speed = |text: &String| text.contains("% · ") && text.contains("iB/s · ");
    assert!(states.iter().any(speed), "{states:?}");
    let remaining = |text: &String| text.ends_with(" s left");
    assert!(states.iter().any(remaining), "{states:?}");
    let drawn = "[...document.querySelectorAll('.card img')].map((img) => img.naturalWidth)";
    assert_eq!(browser.value(drawn).await, json!([1]));

    // A finished row takes one line: name and state overlap vertically.
    let lines = "[...document.querySelectorAll('.card')].map((card) => {
        const [name, state] = ['.name', '.state'].map((part) =>
            card.querySelector(part).getBoundingClientRect());
        return card.offsetHeight < 60 && name.top < state.bottom && state.top < name.bottom;
    })";
    assert_eq!(browser.value(lines).await, json!([true, true, true]));

    // The response of the application server is behind the disclosure of each row.
    let open = "document.querySelectorAll('.card details[open]').length";
    assert_eq!(browser.value(open).await, 0);
    let answers = "[...document.querySelectorAll('.card .answer code')]
        .map((code) => JSON.parse(code.textContent).Status)";
    assert_eq!(browser.value(answers).await, json!(["OK", "OK", "OK"]));

    // The list arrives without a reload and matches that of the server, newest first.
    browser
        .until("document.querySelectorAll('#received li').length === 3")
        .await;
    assert_eq!(browser.text("#count").await, "3");
    let received = server.received();
    let objects: Vec<_> = received.iter().map(|one| one["object"].clone()).collect();
    let shown = "[...document.querySelectorAll('#received li')].map((li) => li.dataset.object)";
    assert_eq!(browser.value(shown).await, json!(objects));
    let numbers: Vec<_> = received.iter().map(|one| one["number"].clone()).collect();
    assert_eq!(json!(numbers), json!([3, 2, 1]));
    for (name, size, kind) in [
        ("notes & <b>.txt", 5, "text/plain"),
        ("pixel.png", 70, "image/png"),
        ("film.mp4", 96 << 20, "video/mp4"),
    ] {
        let one = received.iter().find(|one| one["filename"] == name);
        let one = one.unwrap_or_else(|| panic!("{name} is not in {received:#?}"));
        assert_eq!(one["bucket"], "demo-bucket");
        assert_eq!(
            (&one["size"], &one["mimeType"]),
            (&json!(size), &json!(kind))
        );
        // That of an object from parts ends with their number.
        let etag = one["etag"].as_str().unwrap().split('-').next().unwrap();
        assert_eq!(etag.len(), 32, "{one}");
    }
    // File names are shown as text and never parsed as HTML.
    assert_eq!(
        browser.value("document.querySelectorAll('b').length").await,
        0
    );
    assert_eq!(browser.console().await, Vec::<serde_json::Value>::new());
    browser.close().await;
    assert_eq!(server.stop(), "stopped\n");
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn received_objects_open_and_show_thumbnails() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::page(&server.url()).await;
    browser
        .choose(&[&text(folder.path()), &image(folder.path())])
        .await;
    browser
        .until("document.querySelectorAll('#received li').length === 2")
        .await;
    browser
        .until("document.querySelector('#received img')?.naturalWidth === 1")
        .await;
    let link = "[...document.querySelectorAll('#received a')]
        .find((link) => link.textContent.endsWith('.txt'))";
    let safe = format!("{link}.rel");
    assert_eq!(browser.value(&safe).await, "noopener noreferrer");
    let object = browser.value(&format!("{link}.href")).await;
    let object = object.as_str().unwrap();
    assert!(object.starts_with(&server.uploads), "{object}");
    assert_eq!(browser.console().await, Vec::<serde_json::Value>::new());
    browser.client.goto(object).await.unwrap();
    assert_eq!(browser.text("body").await, "hello");
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn each_step_is_shown_as_the_servers_saw_it() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::page(&server.url()).await;
    browser.choose(&[&text(folder.path())]).await;
    browser.until_cards("done", 1).await;
    browser
        .until("document.querySelectorAll('.step[data-state=done]').length === 6")
        .await;
    let passed = "[...document.querySelectorAll('.checks')]
        .map((list) => list.querySelectorAll('[data-state=passed]').length)";
    assert_eq!(browser.value(passed).await, json!([7, 11]));
    let steps = browser
        .value("document.querySelector('#steps').textContent")
        .await;
    let steps = steps.as_str().unwrap();
    for part in [
        "GET /oss/policy?filename=notes",
        "\"conditions\"",
        "content-length-range",
        "callbackUrl",
        "x-oss-pub-key-url",
        "authorization",
        "x-oss-signature",
        "The handler ran. Your server responded with 200.",
        &format!("POST http://{}/oss/callback", server.address),
    ] {
        assert!(steps.contains(part), "{part} is not in {steps}");
    }
    // A page that is opened later shows earlier uploads.
    browser.client.refresh().await.unwrap();
    browser
        .until("document.querySelectorAll('#received li').length === 1")
        .await;
    assert_eq!(browser.console().await, Vec::<serde_json::Value>::new());
    // The server stops despite the open event stream, and the page shows it.
    assert_eq!(server.stop(), "stopped\n");
    browser
        .until("document.querySelector('#live').textContent === 'reconnecting…'")
        .await;
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn files_that_are_not_granted_are_refused_in_words() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let files = [
        sized(folder.path(), "huge.mp4", (2 << 30) + 1),
        written(folder.path(), "page.html", b"<p>"),
        sized(folder.path(), "empty.txt", 0),
    ];
    let browser = Browser::page(&server.url()).await;
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    browser.choose(&files).await;
    browser.until_cards("failed", 3).await;
    let words = browser.text("#queue").await;
    for part in [
        "Too large: 2.0 GiB",
        "not allowed (text/html)",
        "This file is empty",
    ] {
        assert!(words.contains(part), "{part} is not in {words}");
    }
    assert!(server.received().is_empty());
    assert_eq!(browser.console().await, Vec::<serde_json::Value>::new());

    // The page does not request tokens for such files, and the server would not grant them.
    for (ask, code) in [
        (
            "filename=a.mp4&size=2147483649&type=video/mp4",
            "SizeNotGranted",
        ),
        ("filename=a.html&size=5&type=text/html", "TypeNotGranted"),
    ] {
        let asked = format!(
            "fetch('/oss/policy?{ask}')
                .then(async (answer) => [answer.status, (await answer.json()).code])"
        );
        let answer = browser.value(&asked).await;
        assert_eq!(answer, json!([403, code]));
    }
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn an_upload_is_cancelled_and_tried_again() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::page(&server.url()).await;
    let cancel_once = "
        const queue = document.getElementById('queue');
        new MutationObserver((changes, observer) => {
          if (!changes.some(({ target }) => target.value > 0)) return;
          observer.disconnect();
          document.querySelector('.card .actions button').click();
        }).observe(queue, { subtree: true, attributes: true, attributeFilter: ['value'] })";
    browser.run(cancel_once).await;
    // One form, and slow enough to be cancelled in its middle.
    browser.devtools("Network.enable", json!({})).await;
    throttle(&browser, 20 << 20).await;
    browser
        .choose(&[&sized(folder.path(), "film.mp4", 19 << 20)])
        .await;
    browser.until_cards("cancelled", 1).await;
    assert!(browser.text(".card").await.contains("Cancelled."));
    assert!(server.received().is_empty());
    browser.click(".card .actions button").await;
    browser.until_cards("done", 1).await;
    assert_eq!(server.received().len(), 1);
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn files_are_dropped_onto_the_page() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    browser
        .run(
            "const data = new DataTransfer();
             for (const name of ['one.txt', 'two.txt']) {
               data.items.add(new File(['hello'], name, { type: 'text/plain' }));
             }
             const options = { dataTransfer: data, bubbles: true, cancelable: true };
             const drop = new DragEvent('drop', options);
             document.getElementById('drop').dispatchEvent(drop);",
        )
        .await;
    browser.until_cards("done", 2).await;
    let mut names: Vec<_> = server
        .received()
        .iter()
        .map(|one| one["filename"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["one.txt", "two.txt"]);
    let announced = browser.text("#announce").await;
    assert!(
        announced.ends_with(".txt: Stored and confirmed by your server."),
        "{announced}"
    );
    browser.close().await;
}
