//! DF-22 and KF-07: time limits of a fetch, and the addresses that it tries within them.

use std::{
    error::Error as _,
    future::{pending, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tower_aliyun_oss::key::{FetchError, FetchErrorKind as Kind, FetchKey as _};

use super::{
    fake::pem,
    site::{FullListener, Site, answer, official},
};
use crate::support::Signer;

const SECOND: Duration = Duration::from_secs(1);

/// Checks that connecting took too long. If the whole fetch did, the error has no source.
#[track_caller]
fn assert_limit_of_connecting(error: &FetchError) {
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.source().is_some(), "{error:?}");
}

#[tokio::test]
async fn kf_07_a_silent_host_meets_the_default_deadline() {
    let silent = Site::tcp(|stream| async move {
        pending::<()>().await;
        drop(stream);
    })
    .await;
    let started = Instant::now();
    let fetcher = silent.fetcher_by_default();
    let error = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    let took = started.elapsed();
    assert!(took >= SECOND * 19 / 10, "{took:?}");
    assert_eq!(silent.connections(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn kf_07_a_host_that_accepts_nothing_meets_the_default_limit_of_connecting() {
    let full = FullListener::new();
    let site = Site::tcp(|_| async {}).await;
    let address = full.address;
    let started = Instant::now();
    let fetcher = site
        .fetcher_by_default()
        .resolver(move |_| ready(Ok(vec![address])));
    let error = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_limit_of_connecting(&error);
    let took = started.elapsed();
    assert!(took >= SECOND * 9 / 10, "{took:?}");
    let fetcher = site
        .fetcher()
        .resolver(move |_| ready(Ok(vec![address; 20])))
        .timeout(2 * SECOND);
    // All twenty addresses share one limit.
    let error = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_limit_of_connecting(&error);
    assert_eq!(site.connections(), 0);
}

#[tokio::test]
async fn df_22_a_slow_resolver_meets_the_limit_of_connecting() {
    let site = Site::tcp(|_| async {}).await;
    let fetcher = site.fetcher().resolver(|_| pending()).timeout(SECOND / 2);
    let error = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_limit_of_connecting(&error);
    assert_eq!(site.connections(), 0);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn df_22_the_first_of_four_addresses_accepts_nothing() {
    let key = pem(&Signer::with_512_bits());
    let site = Site::saying(answer("200 OK", "", &key)).await;
    let full = FullListener::new();
    let (dead, good) = (full.address, site.address);
    let fetcher = site
        .fetcher()
        .resolver(move |_| ready(Ok(vec![dead, good, good, good])))
        .timeout(4 * SECOND);
    let started = Instant::now();
    assert_eq!(fetcher.fetch(&official(2)).await.unwrap(), key);
    assert!(
        started.elapsed() >= SECOND / 2,
        "the dead address uses its share of the timeout"
    );
    assert_eq!(site.connections(), 1);
}

#[tokio::test]
async fn df_22_addresses_of_ipv6_alone() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        // Skipped on machines without IPv6.
        return;
    };
    let key = pem(&Signer::with_512_bits());
    let site = Site::saying(answer("200 OK", "", &key)).await;
    let onward = site.address;
    let front = Site::listening(listener, move |mut stream| async move {
        let mut onward = TcpStream::connect(onward).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut onward).await;
    });
    let address = front.address;
    assert!(address.is_ipv6());
    let fetcher = site.fetcher().resolver(move |_| ready(Ok(vec![address])));
    assert_eq!(fetcher.fetch(&official(2)).await.unwrap(), key);
    assert_eq!((front.connections(), site.connections()), (1, 1));
}
