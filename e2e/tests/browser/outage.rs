//! Tests the switch that stops the callback server, and the recovery of the uploads meanwhile.

use serde_json::Value;

use crate::{
    browser::Browser,
    server::Server,
    uploads::{image, text},
};

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn an_upload_while_the_callback_server_is_stopped_is_recovered() {
    for (language, label, recovered) in [
        ("en", "Stop the callback server", "recovered"),
        ("zh-CN", "停止回调服务器", "已恢复"),
    ] {
        let server = Server::start(&[]);
        let folder = tempfile::tempdir().unwrap();
        let browser = Browser::page(&server.url()).await;
        browser.languages(language).await;
        browser.reload().await;
        assert_eq!(browser.text("label.switch").await, label);

        // With the server, an upload is confirmed, and not recovered.
        browser.choose(&[&text(folder.path())]).await;
        browser.until_cards("done", 1).await;
        browser
            .until("document.querySelectorAll('#received li').length === 1")
            .await;
        browser.click("#stopped").await;
        browser
            .until("!document.querySelector('#stopped').disabled")
            .await;
        browser.choose(&[&image(folder.path())]).await;
        browser.until_cards("failed", 1).await;
        assert_eq!(server.received().len(), 1);
        // Every page shows the state of the server.
        browser.reload().await;
        assert_eq!(
            browser
                .value("document.querySelector('#stopped').checked")
                .await,
            true
        );
        // A recovery finds what is stored, and nothing of a token that was not used.
        assert!(
            server
                .get("/oss/policy?type=text/plain&size=5")
                .contains(" 200 ")
        );

        browser.click("#stopped").await;
        browser
            .until("document.querySelectorAll('#received li').length === 2")
            .await;
        let marked = "[...document.querySelectorAll('#received li')]
            .map((li) => li.querySelector('.recovered')?.textContent ?? null)";
        let expected = serde_json::json!([recovered, null]);
        assert_eq!(browser.value(marked).await, expected);
        let received = server.received();
        assert_eq!(received.len(), 2);
        assert_eq!(
            (&received[0]["recovered"], &received[1]["recovered"]),
            (&true.into(), &false.into())
        );
        assert_eq!(
            received[0]["size"],
            Value::from(std::fs::metadata(image(folder.path())).unwrap().len())
        );

        // The server works as before, and what was recovered is not delivered again.
        browser
            .until("!document.querySelector('#stopped').disabled")
            .await;
        browser.choose(&[&text(folder.path())]).await;
        browser
            .until("document.querySelectorAll('#received li').length === 3")
            .await;
        for _ in 0..2 {
            browser.click("#stopped").await;
            browser
                .until("!document.querySelector('#stopped').disabled")
                .await;
        }
        assert_eq!(server.received().len(), 3);
        browser.close().await;
    }
}
