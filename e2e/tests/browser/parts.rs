//! Tests uploads in parts with the module in `client`: a real browser, broken connections, and
//! reloads of the page.
//!
//! `CLIENT_UPLOAD_MIB` sets the size of the file, 64 MiB by default. The long form is 1024.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::{Router, response::Html, routing::get};
use fantoccini::wd::TimeoutConfiguration;
use serde_json::{Value, json};
use tower_aliyun_oss::policy::PresignFormat;

use crate::{
    browser::Browser,
    many::throttle,
    parts_app::{PartsApp, write_file},
};

const CUTS: u64 = 10;
const RELOADS: usize = 2;
/// Parts that the module sends at once.
const AT_ONCE: usize = 4;

/// Opens the page, and gives its scripts ten minutes for what they wait for.
async fn patient(url: &str) -> Browser {
    let browser = Browser::open(url).await;
    let timeouts = TimeoutConfiguration::new(Some(Duration::from_secs(600)), None, None);
    browser.client.update_timeouts(timeouts).await.unwrap();
    browser
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromedriver"]
async fn a_large_file_survives_ten_cuts_and_two_reloads() {
    let mebibytes = std::env::var("CLIENT_UPLOAD_MIB").map_or(64, |size| size.parse().unwrap());
    let size: u64 = mebibytes << 20;
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.mp4");
    let crc = write_file(&film, size);
    let cuts = (1..=CUTS)
        .map(|number| size * number / (CUTS + 1))
        .collect();
    let page = Router::new().route("/", get(|| async { Html(include_str!("parts.html")) }));
    let app = PartsApp::start(&folder.path().join("oss"), cuts, PresignFormat::Json, page).await;
    let started = Instant::now();
    let browser = patient(&app.origin).await;
    // A short file would be there before the page could be reloaded twice.
    browser.devtools("Network.enable", json!({})).await;
    throttle(&browser, i64::try_from(size / 8).unwrap()).await;
    let mut resumed = Vec::new();
    for reload in 0..=RELOADS {
        browser.until("window.ready").await;
        browser.choose_in("#pick", &[&film]).await;
        if reload < RELOADS {
            let fraction = (reload + 1) as f64 / (RELOADS + 1) as f64;
            let reached = format!(
                "window.outcome ||
                 window.progress?.partsStored > {fraction} * window.progress?.partCount"
            );
            browser.until(&reached).await;
            assert_eq!(browser.value("window.outcome ?? null").await, Value::Null);
            let stored = browser.value("window.progress.partsStored").await;
            resumed.push(stored.as_u64().unwrap());
            browser.client.refresh().await.unwrap();
        } else {
            browser.until("window.outcome").await;
        }
    }
    let outcome = browser.value("window.outcome").await;
    let progress = browser.value("window.upload.progress").await;
    let elapsed = started.elapsed();

    // The object is the file, and the application heard of it once.
    let key = outcome["key"]
        .as_str()
        .unwrap_or_else(|| panic!("{outcome}"));
    assert_eq!(outcome["crc64"], crc.to_string(), "{outcome}");
    assert_eq!(outcome["crc64Verified"], true);
    assert_eq!(outcome["reply"], json!({ "object": key }));
    app.assert_stored(key, size, crc).await;
    let once = [(key.to_owned(), size, "video/mp4".to_owned())];
    assert_eq!(app.seen(), once);

    // A cut costs the part that it hits. A reload costs those that were on their way.
    assert_eq!(app.cuts(), usize::try_from(CUTS).unwrap());
    let counts = app.counts();
    let parts = progress["partCount"].as_u64().unwrap() as usize;
    let sum = |counts: &BTreeMap<u32, usize>| counts.values().sum::<usize>();
    let (begun, stored, refused) = (
        sum(&counts.begun),
        sum(&counts.stored),
        sum(&counts.refused),
    );
    println!(
        "{mebibytes} MiB in {parts} parts, {CUTS} cuts, {RELOADS} reloads with {resumed:?} parts \
         stored: {begun} requests, {stored} stored, {refused} expired, {:.1} s",
        elapsed.as_secs_f64()
    );
    assert_eq!(counts.stored.len(), parts);
    let cuts = app.cuts();
    assert!(
        begun - refused <= parts + cuts + RELOADS * AT_ONCE,
        "{:?}",
        counts.begun
    );
    assert!(stored <= parts + cuts, "{:?}", counts.stored);
    browser.close().await;
}
