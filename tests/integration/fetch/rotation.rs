//! KP-13 and KP-14: the content behind a key URL changes or disappears.

use bytes::Bytes;
use tower_aliyun_oss::key::KeySource as _;

use super::{
    fake::{Does, HOUR, Host, MINUTE, SECOND, at_once, get, pass, settle},
    site::official,
};
use crate::support::{Log, Signer};

#[tokio::test(start_paused = true)]
async fn kp_13_another_key_under_the_same_url() {
    let log = Log::default();
    let _guard = log.listen();
    let (old, new) = (Signer::with_512_bits(), Signer::with_1024_bits());
    let host = Host::that(Does::key(&old)).takes(SECOND);
    let keys = host.keys();
    get(&keys, 2).await.unwrap();
    host.does(Does::key(&new));
    // Without a failed signature, the old key stays in use.
    pass(HOUR).await;
    assert_eq!(at_once(&keys, 2).unwrap(), old.public());
    assert_eq!(host.fetches(), 1);
    // A failed signature starts a refresh. The old key stays in use until it completes.
    keys.signature_failed(&official(2));
    settle().await;
    assert_eq!(at_once(&keys, 2).unwrap(), old.public());
    pass(SECOND).await;
    assert_eq!(at_once(&keys, 2).unwrap(), new.public());
    assert_eq!((host.fetches(), keys.stats().changes), (2, 1));
    assert_eq!(log.count("WARN", "the key of this URL has changed"), 1);
    // Age starts a refresh too.
    host.does(Does::key(&old));
    pass(20 * HOUR).await;
    assert_eq!(at_once(&keys, 2).unwrap(), new.public());
    settle().await;
    pass(SECOND).await;
    assert_eq!(at_once(&keys, 2).unwrap(), old.public());
    assert_eq!((host.fetches(), keys.stats().changes), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn kp_14_no_key_under_the_same_url() {
    let old = Signer::with_512_bits();
    for does in [
        Does::Say(Bytes::from_static(b"garbage")),
        Does::Say(Bytes::new()),
        Does::Status(404),
        Does::Status(410),
        Does::Status(301),
        Does::Break,
        Does::Hang,
        Does::Panic,
    ] {
        let host = Host::that(Does::key(&old));
        let keys = host.keys();
        get(&keys, 2).await.unwrap();
        host.does(does);
        for _ in 0..7 * 24 {
            pass(HOUR).await;
            assert_eq!(at_once(&keys, 2).unwrap(), old.public());
            keys.signature_failed(&official(2));
            settle().await;
            pass(3 * SECOND).await;
        }
        assert!(host.fetches() > 100);
        let stats = keys.stats();
        assert_eq!(stats.failures, stats.fetches - 1);
        // The key is found again once the host serves it.
        host.does(Does::key(&old));
        pass(20 * MINUTE).await;
        at_once(&keys, 2).unwrap();
        settle().await;
        let stale = keys.stats().stale;
        at_once(&keys, 2).unwrap();
        assert_eq!(keys.stats().stale, stale);
    }
}
