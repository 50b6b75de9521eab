//! Tests the page with sixty files at once: layout, total progress, and what affects all of them.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Value, json};

use crate::{browser::Browser, server::Server};

/// Drops sixty files of this size: forty pictures, and twenty texts.
fn drop_sixty(size: u32) -> String {
    format!(
        "const data = new DataTransfer();
         for (let number = 0; number < 60; number += 1) {{
           const [type, ending] = number % 3 ? ['image/png', 'png'] : ['text/plain', 'txt'];
           const content = [new Uint8Array({size})];
           data.items.add(new File(content, `file ${{number}}.${{ending}}`, {{ type }}));
         }}
         const options = {{ dataTransfer: data, bubbles: true, cancelable: true }};
         document.getElementById('drop').dispatchEvent(new DragEvent('drop', options));"
    )
}

/// Records tasks that block the page for more than 50 ms, and the most uploads at once.
const WATCH: &str = "
    window.blocked = [];
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.blocked.push(duration);
    }).observe({ type: 'longtask' });
    window.most = 0;
    new MutationObserver(() => {
      const { length } = document.querySelectorAll('.card[data-state=running]');
      window.most = Math.max(window.most, length);
    }).observe(document.getElementById('queue'), {
      subtree: true, attributes: true, attributeFilter: ['data-state'],
    });";

const HEIGHT: &str = "document.documentElement.scrollHeight";

async fn metrics(browser: &Browser) -> BTreeMap<String, f64> {
    let metrics = browser.devtools("Performance.getMetrics", json!({})).await;
    let metrics = metrics["metrics"].as_array().unwrap().iter();
    metrics
        .map(|one| {
            let name = one["name"].as_str().unwrap().to_owned();
            (name, one["value"].as_f64().unwrap())
        })
        .collect()
}

pub(crate) async fn throttle(browser: &Browser, bytes_per_second: i64) {
    let network = json!({
        "offline": false, "latency": 0,
        "downloadThroughput": -1, "uploadThroughput": bytes_per_second,
    });
    browser
        .devtools("Network.emulateNetworkConditions", network)
        .await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn sixty_files_stay_usable() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    let photographs = std::env::var_os("BROWSER_SCREENSHOTS").map(PathBuf::from);
    // Time of the thread, which other processes do not affect.
    let ticks = json!({ "timeDomain": "threadTicks" });
    browser.devtools("Performance.enable", ticks).await;
    for (width, height, language) in [(1280, 900, "en"), (390, 844, "en"), (390, 844, "zh-CN")] {
        browser.screen(width, height, "light").await;
        browser.languages(language).await;
        browser.reload().await;
        browser.run(WATCH).await;
        let empty = browser.value(HEIGHT).await.as_f64().unwrap();
        let before = metrics(&browser).await;
        browser.run(&drop_sixty(1000)).await;
        if let Some(to) = &photographs {
            let to = to.join(format!("running-{width}-{language}.png"));
            browser.photograph(&to).await;
        }
        browser.until_cards("done", 60).await;
        let after = metrics(&browser).await;
        let summary = browser.text("#summary").await;
        assert!(summary.contains("60"), "{summary}");
        assert_eq!(browser.value("window.most").await, 3);

        // The lists scroll, so the page grows by less than two screens.
        let full = browser.value(HEIGHT).await.as_f64().unwrap();
        assert!(full - empty < 2.0 * f64::from(height), "{empty} → {full}");
        let spent = |name: &str| after[name] - before[name];
        let (layout, style) = (spent("LayoutDuration"), spent("RecalcStyleDuration"));
        let script = spent("ScriptDuration");
        let blocked = browser.value("window.blocked").await;
        let blocked: Vec<f64> = serde_json::from_value(blocked).unwrap();
        let longest = blocked.iter().copied().fold(0.0, f64::max);
        println!(
            "{width} {language}: {} layouts in {layout:.3} s, styles in {style:.3} s, scripts in \
             {script:.3} s, longest task {longest:.0} ms, height {empty} → {full}",
            spent("LayoutCount"),
        );
        assert!(layout + style + script < 3.0, "{layout} {style} {script}");
        // On an idle machine, no task takes longer than 100 ms.
        assert!(longest < 1000.0, "{blocked:?}");
        if let Some(to) = &photographs {
            let to = to.join(format!("sixty-{width}-{language}.png"));
            browser.photograph(&to).await;
        }
        browser.click("#clear").await;
        browser.until_cards("done", 0).await;
    }
    assert_eq!(server.received().len(), 180);
    assert_eq!(browser.console().await, Vec::<Value>::new());
    browser.close().await;
}

#[ignore = "needs chromium and chromedriver"]
#[tokio::test]
async fn all_files_are_cancelled_retried_and_cleared() {
    let server = Server::start(&[]);
    let browser = Browser::page(&server.url()).await;
    browser.devtools("Network.enable", json!({})).await;
    throttle(&browser, 400_000).await;
    browser.run(&drop_sixty(100_000)).await;
    // At this speed, sixty files take 15 s. Stop after the first ones.
    browser
        .until(
            "document.querySelectorAll('.card[data-state=done]').length >= 2
             && document.querySelector('#remaining').textContent.endsWith('left')",
        )
        .await;
    let progress = browser.value("document.querySelector('#all').value").await;
    let progress = progress.as_f64().unwrap();
    assert!(0.0 < progress && progress < 100.0, "{progress}");
    browser.click("#cancel-all").await;
    browser
        .until(
            "document.querySelectorAll(
               '.card[data-state=done], .card[data-state=cancelled]'
             ).length === 60",
        )
        .await;
    browser.until("document.activeElement.id === 'clear'").await;
    let summary = browser.text("#summary").await;
    assert!(summary.contains("of 60 files stored · "), "{summary}");
    assert!(summary.ends_with(" cancelled"), "{summary}");
    assert!(server.received().len() < 60);

    throttle(&browser, -1).await;
    browser.click("#retry-all").await;
    browser.until_cards("done", 60).await;
    browser
        .until("document.querySelector('#summary').textContent === '60 of 60 files stored'")
        .await;
    // Many files have one announcement.
    let announced = browser.text("#announce").await;
    assert_eq!(announced, "60 of 60 files stored");
    browser.click("#clear").await;
    browser
        .until("document.querySelector('#total').hidden")
        .await;
    browser.until("document.activeElement.id === 'files'").await;
    browser.close().await;
}
