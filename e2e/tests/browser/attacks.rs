//! Tests the experiments of the page: forged, replayed, tampered, expired and failing uploads.

use serde_json::{Value, json};

use crate::{
    browser::Browser,
    server::Server,
    uploads::{image, text},
};

/// Returns whether each attempt of an experiment was blocked, and its status and code.
async fn attempts(browser: &Browser, experiment: &str) -> Value {
    let attempts = format!(
        "[...document.querySelectorAll('{experiment}-outcome .attempt')]
            .map((li) => [li.dataset.held, li.querySelector('.status').textContent])"
    );
    browser.value(&attempts).await
}

/// Asserts that the console has only the entries that Chromium adds for rejected uploads.
async fn assert_only_refusals(browser: &Browser, server: &Server, refusals: usize) {
    let console = browser.console().await;
    for entry in &console {
        let message = entry["message"].as_str().unwrap();
        assert_eq!(entry["source"], "network", "{entry}");
        assert!(message.starts_with(&server.uploads), "{message}");
    }
    assert_eq!(console.len(), refusals, "{console:#?}");
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn forged_callbacks_are_refused_and_a_replay_runs_nothing() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::page(&server.url()).await;

    // Before the first upload there are fewer forgeries to try.
    assert_eq!(browser.cheat("#forge").await, "Every forgery was rejected");
    let early = json!([
        ["true", "400 MissingHeader"],
        ["true", "403 KeyUrlRejected"],
        ["true", "403 TicketMissing"],
    ]);
    assert_eq!(attempts(&browser, "#forge").await, early);
    assert_eq!(browser.cheat("#replay").await, "Nothing to replay");

    browser.choose(&[&image(folder.path())]).await;
    browser.until_cards("done", 1).await;
    browser
        .until("document.querySelectorAll('#received li').length === 1")
        .await;
    let before = server.received();

    let heading = browser.cheat("#replay").await;
    assert_eq!(heading, "The replay did not run the handler");
    assert_eq!(
        attempts(&browser, "#replay").await,
        json!([["true", "200"]])
    );
    let outcome = browser.value("document.querySelector('#replay-outcome').textContent");
    let outcome = outcome.await;
    let outcome = outcome.as_str().unwrap();
    assert!(
        outcome.contains("did not run again (1 run in total)"),
        "{outcome}"
    );
    // The response is the stored one.
    let object = before[0]["object"].as_str().unwrap();
    assert!(outcome.contains(object), "{outcome}");

    browser.click("#forge").await;
    browser
        .until("document.querySelectorAll('#forge-outcome .attempt').length === 5")
        .await;
    let all = json!([
        ["true", "400 MissingHeader"],
        ["true", "403 KeyUrlRejected"],
        ["true", "403 TicketMissing"],
        ["true", "403 OutsideGrant"],
        ["true", "403 SignatureMismatch"],
    ]);
    assert_eq!(attempts(&browser, "#forge").await, all);
    // Each result is directly below the button that started it.
    let place = "[...document.querySelectorAll('.outcome:not(:empty)')]
        .map((outcome) => outcome.previousElementSibling.id)";
    assert_eq!(browser.value(place).await, json!(["forge", "replay"]));

    assert_eq!(server.received(), before);
    assert_eq!(browser.text("#count").await, "1");
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn tampered_forms_are_refused() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    browser.click("#tamper").await;
    browser
        .until(
            "!document.querySelector('#tamper').disabled
             && document.querySelectorAll('#tamper-outcome .attempt').length === 6",
        )
        .await;
    assert_eq!(
        browser.text("#tamper-outcome h4").await,
        "OSS rejected every altered form"
    );
    let refused = json!([
        ["true", "403 AccessDenied"],
        ["true", "403 AccessDenied"],
        ["true", "403 AccessDenied"],
        ["true", "403 AccessDenied"],
        ["true", "403 SignatureDoesNotMatch"],
        ["true", "400 EntityTooLarge"],
    ]);
    assert_eq!(attempts(&browser, "#tamper").await, refused);
    assert!(server.received().is_empty());

    // Details are collapsed, so each attempt stays short.
    let tallest =
        "Math.max(...[...document.querySelectorAll('.attempt')].map((li) => li.offsetHeight))";
    let tallest = browser.value(tallest).await;
    assert!(tallest.as_f64().unwrap() < 200.0, "{tallest}");
    let answers = browser.value("document.querySelector('#tamper-outcome').textContent");
    let answers = answers.await;
    assert!(
        answers
            .as_str()
            .unwrap()
            .contains("Policy Condition failed")
    );

    // The steps show which check of OSS failed.
    browser.click(".attempt:nth-child(1) button").await;
    let failed = "document.querySelector('.checks [data-state=failed]')?.textContent ?? ''";
    browser
        .until(&format!("({failed}).includes('policy condition')"))
        .await;
    assert_only_refusals(&browser, &server, 6).await;
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn an_expired_token_is_renewed() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    browser.click("#expire").await;
    browser.until_cards("done", 1).await;
    browser
        .until("document.querySelector('#expire-outcome h4')")
        .await;
    let heading = browser.text("#expire-outcome h4").await;
    assert_eq!(heading, "The token was renewed");
    browser.click(".card summary").await;
    let card = browser.text(".card").await;
    assert!(card.contains("a new one was requested"), "{card}");
    browser
        .until("document.querySelectorAll('.step[data-state=done]').length === 6")
        .await;
    let steps = browser.text("#steps").await;
    assert!(steps.contains("Policy expired"), "{steps}");
    let received = server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["filename"], "too-late.txt");
    assert_only_refusals(&browser, &server, 1).await;
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn a_failed_callback_is_no_success_and_a_retry_takes_a_new_token() {
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let browser = Browser::page(&server.url()).await;
    browser.choose(&[&text(folder.path())]).await;
    browser.until_cards("done", 1).await;
    assert_eq!(browser.cheat("#fail").await, "Stored, but not confirmed");
    browser.until_cards("failed", 1).await;
    let card = browser.text(".card[data-state=failed]").await;
    assert!(card.contains("The file is stored, but"), "{card}");
    assert_eq!(server.received().len(), 1);
    let key = "document.querySelector('.step td').textContent";
    let first = browser.value(key).await;

    browser
        .click(".card[data-state=failed] .actions button")
        .await;
    browser.until_cards("done", 2).await;
    assert_ne!(browser.value(key).await, first);
    assert_eq!(server.received().len(), 2);
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}
