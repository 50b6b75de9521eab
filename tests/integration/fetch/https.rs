//! KF-01 to KF-10: attacks and faults of the key host, or of an attacker in its place.

use std::{future::pending, process::Command, sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use rcgen::ExtendedKeyUsagePurpose;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};
use tower_aliyun_oss::{
    Lookup,
    key::{
        FetchErrorKind as Kind, FetchKey as _, FetchedKeys, HttpsFetcher, KeyError, KeySource as _,
    },
};

use super::{
    fake::{pem, unavailable},
    site::{Certificate, Connection, Site, answer, head, official, say},
};
use crate::support::Signer;

const SHORT: Duration = Duration::from_millis(200);

async fn kind(site: &Site) -> Kind {
    site.fetch().await.unwrap_err().kind()
}

/// Returns the error kind of a fetch with a short timeout.
async fn kind_in_short(site: &Site) -> Kind {
    let fetcher = site.fetcher().timeout(SHORT);
    fetcher.fetch(&official(2)).await.unwrap_err().kind()
}

#[tokio::test]
async fn a_key_is_fetched_over_tls_and_used() {
    let key = pem(&Signer::with_512_bits());
    let site = Site::saying(answer("200 OK", "set-cookie: a=b\r\n", &key)).await;
    let keys = FetchedKeys::builder().fetcher(site.fetcher()).build();
    keys.warm_up(["/callback_pub_key_v2.pem"]).await.unwrap();
    let Lookup::Ready(Ok(found)) = keys.key(&official(2)) else {
        panic!("the key must be cached");
    };
    assert_eq!(found, Signer::with_512_bits().public());
    assert_eq!(site.fetch().await.unwrap(), key);
    let requests = site.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        let lines: Vec<_> = request.split("\r\n").collect();
        assert_eq!(lines[0], "GET /callback_pub_key_v2.pem HTTP/1.1");
        assert!(lines.contains(&"host: gosspublic.alicdn.com"));
        assert!(lines.contains(&"accept-encoding: identity"));
        assert!(!request.contains("cookie"), "{request}");
    }
}

#[tokio::test]
async fn kf_01_no_redirect_is_followed() {
    let evil = Site::saying(answer("200 OK", "", &pem(&Signer::with_512_bits()))).await;
    let locations = [
        format!("https://{}/callback_pub_key_v2.pem", evil.address),
        "http://gosspublic.alicdn.com/callback_pub_key_v2.pem".to_owned(),
        "https://gosspublic.alicdn.com/callback_pub_key_v2.pem".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for status in [
        "301 Moved",
        "302 Found",
        "303 See",
        "307 Temporary",
        "308 Permanent",
    ] {
        for location in &locations {
            let site =
                Site::saying(answer(status, &format!("location: {location}\r\n"), b"")).await;
            assert_eq!(kind(&site).await, Kind::Redirect, "{status} {location}");
            assert_eq!((site.connections(), site.requests().len()), (1, 1));
        }
    }
    assert_eq!(evil.connections(), 0);
}

#[tokio::test]
async fn kf_02_a_resolver_cannot_choose_whom_to_believe() {
    let site = Site::saying(answer("200 OK", "", &pem(&Signer::with_512_bits()))).await;
    let other = Certificate {
        names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        ..Certificate::good()
    };
    let rebound = Site::tls(&other, &["http/1.1"], |_| async {}).await;
    // DNS rebinding: the first lookup returns the real host, the second another one.
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let addresses = [site.address, rebound.address];
    let fetcher = site.fetcher().resolver(move |_| {
        let call = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        std::future::ready(Ok(vec![addresses[call]]))
    });
    fetcher.fetch(&official(2)).await.unwrap();
    let error = fetcher.fetch(&official(2)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Tls);
    assert_eq!(rebound.connections(), 1);
}

#[tokio::test]
async fn kf_03_certificates_are_checked() {
    let good = Certificate::good();
    let bad = [
        Certificate {
            self_signed: true,
            ..good.clone()
        },
        Certificate {
            until: 2021,
            ..good.clone()
        },
        Certificate {
            names: vec!["alicdn.com".to_owned()],
            ..good.clone()
        },
        Certificate {
            names: vec![],
            ..good.clone()
        },
        Certificate {
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            ..good.clone()
        },
        Certificate {
            authority: "Another authority",
            ..good.clone()
        },
    ];
    for (number, certificate) in bad.iter().enumerate() {
        let site = Site::tls(certificate, &["http/1.1"], |_| async {
            panic!("no handshake may succeed")
        })
        .await;
        assert_eq!(kind(&site).await, Kind::Tls, "{number}");
        assert_eq!(site.connections(), 1);
    }
    // A wildcard covers exactly one label.
    let star = Certificate {
        names: vec!["*.alicdn.com".to_owned()],
        ..good
    };
    let key = Bytes::from(answer("200 OK", "", &pem(&Signer::with_512_bits())));
    let site = Site::tls(&star, &[], move |mut connection| {
        let key = key.clone();
        async move {
            head(&mut connection).await;
            say(connection, key).await;
        }
    })
    .await;
    site.fetch().await.unwrap();
}

#[tokio::test]
async fn kf_03_no_old_tls_and_no_plain_text() {
    // A ServerHello of TLS 1.1, an alert of TLS 1.0, and plain HTTP.
    let mut hello = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 0x2f, 0]);
    let alert = vec![21, 3, 1, 0, 2, 2, 70];
    let plain = answer("200 OK", "", &pem(&Signer::with_512_bits()));
    for bytes in [hello, alert, plain] {
        let bytes = Arc::new(bytes);
        let site = Site::tcp(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                let mut some = [0; 16];
                stream.read_exact(&mut some).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
                // Wait for the client to close.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
        })
        .await;
        assert_eq!(kind(&site).await, Kind::Tls);
    }
}

/// Child process of [`kf_04_the_environment_names_no_proxy`].
#[tokio::test]
#[ignore = "runs in a process of its own"]
async fn kf_04_child() {
    let site = Site::saying(answer("200 OK", "", &pem(&Signer::with_512_bits()))).await;
    site.fetch().await.unwrap();
    assert_eq!(site.connections(), 1);
}

#[tokio::test]
async fn kf_04_the_environment_names_no_proxy() {
    let proxy = Site::tcp(|_| async {}).await;
    let url = format!("http://{}", proxy.address);
    let child = std::env::current_exe().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(child);
        for name in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "http_proxy",
            "https_proxy",
            "all_proxy",
        ] {
            child.env(name, &url);
        }
        child
            .args(["--exact", "fetch::https::kf_04_child", "--ignored"])
            .output()
            .unwrap()
    })
    .await
    .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn kf_04_a_proxy_that_is_asked_for_sees_a_tunnel() {
    let key = pem(&Signer::with_512_bits());
    let site = Site::saying(answer("200 OK", "", &key)).await;
    let (said, mut heard) = mpsc::unbounded_channel();
    let target = site.address;
    let proxy = Site::tcp(move |mut stream| {
        let said = said.clone();
        async move {
            said.send(head(&mut stream).await).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut onward = TcpStream::connect(target).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        }
    })
    .await;
    let address = proxy.address;
    let through = |proxy: &str| site.fetcher().proxy(proxy).unwrap();
    let fetched = through(&format!("http://{address}"))
        .fetch(&official(2))
        .await;
    assert_eq!(fetched.unwrap(), key);
    let asked = heard.recv().await.unwrap();
    assert!(
        asked.starts_with("CONNECT gosspublic.alicdn.com:443 HTTP/1.1\r\n"),
        "{asked}"
    );

    // A proxy that rejects the tunnel.
    let refuses = Site::tcp(|mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n").await;
    })
    .await;
    let error = through(&format!("http://{}/", refuses.address))
        .fetch(&official(2))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    for odd in [
        "https://127.0.0.1:1",
        "http://user:pass@127.0.0.1:1",
        "http://127.0.0.1:1/path",
        "127.0.0.1:1",
        "",
    ] {
        let refused = HttpsFetcher::new().proxy(odd).unwrap_err();
        assert_eq!(refused.kind(), Kind::ProxyUrl, "{odd}");
        assert!(refused.to_string().contains("http://host:port"));
    }
}

#[tokio::test]
async fn kf_04_a_proxy_that_ends_the_tls_itself_is_not_believed() {
    let other = Certificate {
        authority: "Another authority",
        ..Certificate::good()
    };
    for (certificate, believed) in [(other, false), (Certificate::good(), true)] {
        let key = Bytes::from(answer("200 OK", "", &pem(&Signer::with_512_bits())));
        let inside = Site::tls(&certificate, &[], move |mut connection| {
            let key = key.clone();
            async move {
                head(&mut connection).await;
                say(connection, key).await;
            }
        })
        .await;
        let target = inside.address;
        let proxy = Site::tcp(move |mut stream| async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let mut onward = TcpStream::connect(target).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut onward).await;
        })
        .await;
        let fetcher = inside.fetcher().proxy(&format!("http://{}", proxy.address));
        let fetched = fetcher.unwrap().fetch(&official(2)).await;
        match believed {
            true => drop(fetched.unwrap()),
            false => assert_eq!(fetched.unwrap_err().kind(), Kind::Tls),
        }
        assert_eq!((proxy.connections(), inside.connections()), (1, 1));
    }
}

#[tokio::test]
async fn kf_05_only_status_200() {
    let key = pem(&Signer::with_512_bits());
    for status in [
        201, 202, 203, 206, 300, 400, 403, 404, 410, 418, 429, 500, 502, 503, 599,
    ] {
        let site = Site::saying(answer(
            &format!("{status} Any"),
            "retry-after: 77\r\n",
            &key,
        ))
        .await;
        let error = site.fetch().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Status);
        assert_eq!(error.status(), Some(StatusCode::from_u16(status).unwrap()));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(77)));
    }
    for status in [204, 304] {
        let site = Site::saying(format!("HTTP/1.1 {status} Any\r\n\r\n")).await;
        assert_eq!(kind(&site).await, Kind::Status);
    }
    for odd in [
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "-1",
        "1e9",
        "99999999999999999999999",
        "",
    ] {
        let site = Site::saying(answer("429 Slow", &format!("retry-after: {odd}\r\n"), b"")).await;
        assert_eq!(site.fetch().await.unwrap_err().retry_after(), None, "{odd}");
    }
    // Interim responses without end.
    let site = Site::answering(|mut connection: Connection| async move {
        while connection
            .write_all(b"HTTP/1.1 103 Early\r\n\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    assert_eq!(kind_in_short(&site).await, Kind::Timeout);
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// Returns a body chunk of 1 KiB.
fn chunk() -> Vec<u8> {
    [&b"400\r\n"[..], &[b'A'; 1024], b"\r\n"].concat()
}

/// Serves `first`, then `then` repeatedly until the fetcher closes the connection. Returns the
/// error kind and the number of bytes accepted by the fetcher or buffered by the system.
async fn endless(
    certificate: &Certificate,
    alpn: &[&str],
    first: Vec<u8>,
    then: Vec<u8>,
) -> (Kind, usize) {
    let (hung_up, mut heard) = mpsc::unbounded_channel();
    let site = Site::tls(certificate, alpn, move |mut connection| {
        let (hung_up, first, then) = (hung_up.clone(), first.clone(), then.clone());
        async move {
            let mut taken = 0;
            let mut next = &first;
            while connection.write_all(next).await.is_ok() {
                taken += next.len();
                next = &then;
            }
            hung_up.send(taken).unwrap();
        }
    })
    .await;
    let kind = kind(&site).await;
    let taken = timeout(Duration::from_secs(20), heard.recv()).await;
    (
        kind,
        taken
            .expect("the fetcher must close the connection")
            .unwrap(),
    )
}

/// Upper bound for data in the buffers of sockets and TLS that the fetcher never read.
const BUFFERED: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn kf_06_bodies_are_bounded() {
    for length in [0, 182, 16 * 1024] {
        let site = Site::saying(answer("200 OK", "", &vec![b'A'; length])).await;
        assert_eq!(site.fetch().await.unwrap().len(), length);
    }
    let site = Site::saying(answer("200 OK", "", &[b'A'; 16 * 1024 + 1])).await;
    assert_eq!(kind(&site).await, Kind::TooLarge);
    // An announced length of 1 GiB is rejected before any of the body is sent.
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let site = Site::answering(move |mut connection: Connection| async move {
        let _ = connection.write_all(announced.as_bytes()).await;
        let _ = connection.read_u8().await;
    })
    .await;
    assert_eq!(kind(&site).await, Kind::TooLarge);

    let chunks = |many| [CHUNKED.as_bytes(), &chunk().repeat(many), b"0\r\n\r\n"].concat();
    let site = Site::saying(chunks(16)).await;
    assert_eq!(site.fetch().await.unwrap().len(), 16 * 1024);
    let site = Site::saying(chunks(17)).await;
    assert_eq!(kind(&site).await, Kind::TooLarge);
}

#[tokio::test]
async fn kf_06_an_endless_body_is_hung_up_on() {
    let plain = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    for (head, body) in [(CHUNKED.into(), chunk()), (plain, vec![b'A'; 4096])] {
        let (kind, taken) = endless(&Certificate::good(), &["http/1.1"], head, body).await;
        assert_eq!(kind, Kind::TooLarge);
        assert!(taken < BUFFERED, "{taken} bytes");
    }
}

#[tokio::test]
async fn kf_06_lengths_that_lie_and_codings() {
    let key = pem(&Signer::with_512_bits());
    let with_length = |length: usize| {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
        answer.extend_from_slice(&key);
        answer
    };
    let long = Site::saying(with_length(key.len() + 1)).await;
    assert_eq!(kind(&long).await, Kind::Interrupted);
    let short = Site::saying(with_length(key.len() - 30)).await;
    assert_eq!(short.fetch().await.unwrap(), key[..key.len() - 30]);
    let none = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &key].concat();
    assert_eq!(Site::saying(none).await.fetch().await.unwrap(), key);
    for odd in ["-1", "1, 2", "0x10", "abc"] {
        let site = Site::saying(format!("HTTP/1.1 200 OK\r\ncontent-length: {odd}\r\n\r\n")).await;
        assert_eq!(kind(&site).await, Kind::Interrupted, "{odd}");
    }
    for coding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"] {
        let header = format!("content-encoding: {coding}\r\n");
        let site = Site::saying(answer("200 OK", &header, &key)).await;
        assert_eq!(kind(&site).await, Kind::Encoding, "{coding}");
    }
    let site = Site::saying(answer("200 OK", "content-encoding: identity\r\n", &key)).await;
    assert_eq!(site.fetch().await.unwrap(), key);
}

#[tokio::test]
async fn kf_07_slow_hosts_meet_the_deadline() {
    // A host that never starts the TLS handshake.
    let silent = Site::tcp(|stream| async move {
        pending::<()>().await;
        drop(stream);
    })
    .await;
    assert_eq!(kind_in_short(&silent).await, Kind::Timeout);
    // A host that sends nothing after the handshake, or one byte at a time.
    for begin in [
        "",
        "HTTP/1.1 200 OK\r\nx: ",
        "HTTP/1.1 200 OK\r\ncontent-length: 182\r\n\r\n",
    ] {
        let site = Site::answering(move |mut connection: Connection| async move {
            let _ = connection.write_all(begin.as_bytes()).await;
            let mut beat = tokio::time::interval(SHORT / 10);
            while connection
                .write_all(if begin.is_empty() { b"" } else { b"A" })
                .await
                .is_ok()
            {
                beat.tick().await;
            }
        })
        .await;
        assert_eq!(kind_in_short(&site).await, Kind::Timeout, "{begin:?}");
    }
}

#[tokio::test]
async fn kf_07_broken_connections() {
    let closed = Site::tcp(|_| async {}).await;
    assert_eq!(kind(&closed).await, Kind::Connect);
    // Closing with unread data resets the connection.
    let reset = Site::tcp(|mut stream| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    assert_eq!(kind(&reset).await, Kind::Connect);
    let partial = b"HTTP/1.1 200 OK\r\ncontent-length: 182\r\n\r\n-----BEGIN";
    for part in [0, 5, 20, partial.len()] {
        // With and without the `close_notify` of TLS.
        for polite in [true, false] {
            let site = Site::answering(move |mut connection: Connection| async move {
                connection.write_all(&partial[..part]).await.unwrap();
                connection.flush().await.unwrap();
                if polite {
                    let _ = connection.shutdown().await;
                }
            })
            .await;
            assert_eq!(kind(&site).await, Kind::Interrupted, "{part} {polite}");
        }
    }
    // A body that ends with the connection could be truncated, so it needs a `close_notify`.
    let site = Site::answering(move |mut connection: Connection| async move {
        connection
            .write_all(b"HTTP/1.1 200 OK\r\n\r\n-----BEGIN")
            .await
            .unwrap();
        connection.flush().await.unwrap();
    })
    .await;
    assert_eq!(kind(&site).await, Kind::Interrupted);
    // No listener.
    let gone = Site::tcp(|_| async {}).await;
    let fetcher = gone.fetcher();
    drop(gone);
    tokio::task::yield_now().await;
    assert_eq!(
        fetcher.fetch(&official(2)).await.unwrap_err().kind(),
        Kind::Connect
    );
}

#[tokio::test]
async fn kf_08_what_is_no_key_is_not_kept() {
    let key = pem(&Signer::with_512_bits());
    let text = String::from_utf8(key.to_vec()).unwrap();
    let bodies = [
        "<html>Bad Gateway</html>".to_owned(),
        "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>".to_owned(),
        "{\"code\":404}".to_owned(),
        String::new(),
        "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n".to_owned(),
        text.replace("PUBLIC KEY", "RSA PUBLIC KEY"),
        text.replace("PUBLIC KEY", "CERTIFICATE"),
        format!("{text}{text}"),
        format!(" {text}"),
        text[..100].to_owned(),
    ];
    for body in bodies {
        let site = Site::saying(answer("200 OK", "", body.as_bytes())).await;
        let keys = FetchedKeys::builder().fetcher(site.fetcher()).build();
        let Lookup::Pending(lookup) = keys.key(&official(2)) else {
            panic!("no key is cached yet");
        };
        assert_eq!(unavailable(lookup.await), Kind::Key, "{body}");
        // The failure is cached, so the path is not requested again at once.
        let Lookup::Ready(again) = keys.key(&official(2)) else {
            panic!("the failure must be cached");
        };
        assert_eq!(unavailable(again), Kind::Key);
        assert_eq!(site.requests().len(), 1);
        assert!(matches!(keys.key(&official(1)), Lookup::Ready(Ok(_))));
    }
}

#[tokio::test]
async fn kf_09_headers_are_bounded() {
    let key = pem(&Signer::with_512_bits());
    for headers in [
        format!("x: {}\r\n", "a".repeat(64 * 1024)),
        "x: a\r\n".repeat(10_000),
        "x: a\r\n".repeat(65),
    ] {
        let site = Site::saying(answer("200 OK", &headers, &key)).await;
        assert_eq!(kind(&site).await, Kind::Interrupted);
    }
    // Endless headers: the fetcher closes the connection.
    for header in ["x: a\r\n", "a"] {
        let (head, more) = (b"HTTP/1.1 200 OK\r\n".to_vec(), header.repeat(100));
        let (kind, taken) = endless(&Certificate::good(), &["http/1.1"], head, more.into()).await;
        assert_eq!(kind, Kind::Interrupted);
        assert!(taken < BUFFERED, "{taken} bytes");
    }
    let site = Site::saying(answer("200 OK", &"x: a\r\n".repeat(60), &key)).await;
    assert_eq!(site.fetch().await.unwrap(), key);
}

/// Builds an HTTP/2 frame (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
}

#[tokio::test]
async fn kf_10_http_2_is_not_spoken() {
    let only_h2 = Site::tls(&Certificate::good(), &["h2"], |_| async {
        panic!("the client must offer only http/1.1");
    })
    .await;
    assert_eq!(kind(&only_h2).await, Kind::Tls);
    // Hosts that speak HTTP/2 unasked: SETTINGS, then endless RST_STREAM, CONTINUATION or
    // PUSH_PROMISE frames.
    for flood in [
        frame(3, 0, 1, &[0, 0, 0, 8]),
        frame(9, 0, 1, &[0; 16]),
        frame(5, 4, 1, &[0, 0, 0, 2]),
    ] {
        let settings = frame(4, 0, 0, &[]);
        let (kind, taken) = endless(&Certificate::good(), &[], settings, flood).await;
        assert_eq!(kind, Kind::Interrupted);
        assert!(taken < BUFFERED, "{taken} bytes");
    }
}

#[tokio::test]
async fn roots_are_certificates() {
    for odd in [
        "",
        "not a certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let refused = HttpsFetcher::new()
            .root_certificates(odd.as_bytes())
            .unwrap_err();
        assert_eq!(refused.kind(), Kind::RootsPem);
        assert!(refused.to_string().contains("certificates in PEM"));
    }
}

#[tokio::test]
async fn a_table_of_your_own_is_fetched_from_its_own_host_and_port() {
    use tower_aliyun_oss::key::KeyTable;

    let certificate = Certificate {
        names: vec!["store.internal".to_owned()],
        ..Certificate::good()
    };
    let serve = |signer: Signer| {
        let key = Bytes::from(answer("200 OK", "", &pem(&signer)));
        move |mut connection: Connection| {
            let key = key.clone();
            async move {
                let request = head(&mut connection).await;
                assert!(request.starts_with("GET /k.pem HTTP/1.1\r\n"));
                say(connection, key).await;
            }
        }
    };
    for (signer, taken) in [
        (Signer::with_1024_bits(), true),
        (Signer::with_512_bits(), false),
    ] {
        let site = Site::tls(&certificate, &[], serve(signer)).await;
        let host = format!("store.internal:{}", site.address.port());
        let table = KeyTable::own(&host, ["/k.pem"]).unwrap();
        let fetcher = site.fetcher().resolver(|host| {
            assert_eq!(host, "store.internal");
            std::future::ready(Ok(vec![([127, 0, 0, 1], 0).into()]))
        });
        let keys = FetchedKeys::builder().table(table).fetcher(fetcher).build();
        let warmed = keys.warm_up(["/k.pem"]).await;
        assert_eq!(warmed.is_ok(), taken);
        if let Err(error) = warmed {
            assert_eq!(
                unavailable(Err(error)),
                Kind::Key,
                "a key of 512 bits is too short"
            );
        }
        assert!(matches!(
            keys.warm_up(["/other.pem"]).await,
            Err(KeyError::Unknown)
        ));
        // A table of another host does not contain the official key.
        assert!(matches!(
            keys.key(&official(1)),
            Lookup::Ready(Err(KeyError::Unknown))
        ));
    }
}
