//! The client of OSS, against scripted hosts on this machine.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower_aliyun_oss::{
    Credentials, Lookup,
    policy::{CredentialsProvider, CredentialsProviderError},
    protocol::{Bucket, Endpoint},
    storage::{ObjectStorage as _, OssClient, StorageErrorKind},
};

const FOUND: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\netag: \"D41D\"\r\n\r\n";
const DELETED: &str = "HTTP/1.1 204 No Content\r\n\r\n";

/// What a host does with a request.
enum Act {
    Send(String),
    /// Closes the connection without a response.
    Close,
    /// Sends this over and over.
    Repeat(&'static str),
    /// Does nothing.
    Hang,
}

fn send(text: &str) -> Act {
    Act::Send(text.to_owned())
}

/// A host that records the requests it receives.
#[derive(Clone)]
struct Host {
    port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Host {
    /// `act` gets the number of the connection and of the request on it, both from 0.
    async fn start(act: impl Fn(usize, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            port: listener.local_addr().unwrap().port(),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (act, shared) = (Arc::new(act), host.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = shared.connections.fetch_add(1, SeqCst);
                tokio::spawn(shared.clone().serve(stream, connection, Arc::clone(&act)));
            }
        });
        host
    }

    async fn serve<A>(self, mut stream: TcpStream, connection: usize, act: Arc<A>)
    where
        A: Fn(usize, usize) -> Act,
    {
        for request in 0.. {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            let head = String::from_utf8(head).unwrap();
            self.requests.lock().unwrap().push(head);
            match act(connection, request) {
                Act::Send(text) => stream.write_all(text.as_bytes()).await.unwrap(),
                Act::Close => return,
                Act::Repeat(text) => while stream.write_all(text.as_bytes()).await.is_ok() {},
                Act::Hang => std::future::pending().await,
            }
        }
    }

    fn client(&self) -> OssClient {
        self.client_of(Credentials::new("id", "secret").unwrap())
    }

    fn client_of(&self, credentials: impl CredentialsProvider + 'static) -> OssClient {
        let url = format!("http://127.0.0.1:{}/examplebucket/", self.port);
        OssClient::new("cn-hangzhou".parse().unwrap(), credentials)
            .endpoint(Endpoint::custom(url.parse().unwrap()))
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Connections and requests.
    fn counts(&self) -> (usize, usize) {
        (self.connections.load(SeqCst), self.requests().len())
    }
}

fn bucket() -> Bucket {
    "examplebucket".parse().unwrap()
}

async fn kind(client: &OssClient) -> StorageErrorKind {
    client.head(&bucket(), "a.png").await.unwrap_err().kind()
}

#[tokio::test]
async fn requests_are_signed_and_share_a_connection() {
    let host = Host::start(|_, request| send([FOUND, DELETED][request.min(1)])).await;
    let client = host
        .client()
        .clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_701_605_532));
    let metadata = client.head(&bucket(), "u/中 +.png").await.unwrap();
    assert_eq!((metadata.size(), metadata.etag()), (5, Some("D41D")));
    client.clone().delete(&bucket(), "a?b").await.unwrap();
    assert_eq!(host.counts(), (1, 2));
    let [head, delete] = &host.requests()[..] else {
        panic!("two requests")
    };
    assert!(head.starts_with("HEAD /examplebucket/u/%E4%B8%AD%20%2B.png HTTP/1.1\r\n"));
    assert!(delete.starts_with("DELETE /examplebucket/a%3Fb HTTP/1.1\r\n"));
    for (name, value) in [
        ("host", format!("127.0.0.1:{}", host.port)),
        ("x-oss-date", "20231203T121212Z".to_owned()),
        ("x-oss-content-sha256", "UNSIGNED-PAYLOAD".to_owned()),
    ] {
        assert!(head.contains(&format!("{name}: {value}\r\n")), "{head}");
    }
    let scope = "id/20231203/cn-hangzhou/oss/aliyun_v4_request";
    assert!(head.contains(&format!("OSS4-HMAC-SHA256 Credential={scope},Signature=")));
    assert!(!head.contains("secret"));
}

#[tokio::test]
async fn co_12_a_request_on_a_connection_that_was_closed_is_sent_again() {
    // The first connection closes when it is used again, as if it had been idle for too long.
    let host = Host::start(|connection, request| match (connection, request) {
        (0, 1) => Act::Close,
        _ => send(FOUND),
    })
    .await;
    let client = host.client();
    for _ in 0..3 {
        assert_eq!(client.head(&bucket(), "a.png").await.unwrap().size(), 5);
    }
    assert_eq!(host.counts(), (2, 4));
}

#[tokio::test]
async fn co_12_a_host_that_closes_every_connection_is_asked_twice() {
    let host = Host::start(|_, _| Act::Close).await;
    assert_eq!(kind(&host.client()).await, StorageErrorKind::Unavailable);
    assert_eq!(host.counts(), (2, 2));
}

#[tokio::test]
async fn co_04_statuses_are_told_apart() {
    for (status, expected) in [
        ("400 Bad Request", StorageErrorKind::Rejected),
        ("401 Unauthorized", StorageErrorKind::Denied),
        ("403 Forbidden", StorageErrorKind::Denied),
        // Without the code of OSS, anything in between can have sent it.
        ("404 Not Found", StorageErrorKind::Rejected),
        ("429 Too Many Requests", StorageErrorKind::Throttled),
        ("500 Internal Server Error", StorageErrorKind::Unavailable),
        ("503 Service Unavailable", StorageErrorKind::Throttled),
    ] {
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: 3\r\n\r\n");
        let host = Host::start(move |_, _| Act::Send(text.clone())).await;
        assert_eq!(kind(&host.client()).await, expected, "{status}");
        assert_eq!(host.counts(), (1, 1), "{status}");
    }
}

#[tokio::test]
async fn co_04_a_host_that_does_not_listen_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host {
        port: listener.local_addr().unwrap().port(),
        connections: Arc::default(),
        requests: Arc::default(),
    };
    drop(listener);
    assert_eq!(kind(&host.client()).await, StorageErrorKind::Unavailable);
}

#[tokio::test]
async fn co_13_redirects_are_not_followed() {
    let other = Host::start(|_, _| send(FOUND)).await;
    let text = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://127.0.0.1:{}/\r\n\
         content-length: 0\r\n\r\n",
        other.port
    );
    let host = Host::start(move |_, _| Act::Send(text.clone())).await;
    assert_eq!(kind(&host.client()).await, StorageErrorKind::Rejected);
    assert_eq!((host.counts(), other.counts()), ((1, 1), (0, 0)));
}

#[tokio::test]
async fn co_13_a_slow_host_is_given_up() {
    for act in [(|_, _| Act::Hang) as fn(usize, usize) -> Act, |_, _| {
        send("HTTP/1.1 200 OK\r\ncontent-le")
    }] {
        let host = Host::start(act).await;
        let client = host.client().timeout(Duration::from_millis(100));
        let kind = timeout(Duration::from_secs(10), kind(&client)).await;
        assert_eq!(kind.unwrap(), StorageErrorKind::TimedOut);
        assert_eq!(host.counts(), (1, 1));
    }
}

#[tokio::test]
async fn co_13_endless_responses_are_cut_off() {
    let minute = Duration::from_secs(60);
    // A head without an end.
    let host = Host::start(|_, request| match request {
        0 => Act::Repeat("HTTP/1.1 200 OK\r\nx: x\r\n"),
        _ => Act::Close,
    })
    .await;
    let client = host.client().timeout(minute);
    assert_eq!(kind(&client).await, StorageErrorKind::Unavailable);
    // A page without an end.
    let host = Host::start(|_, _| {
        Act::Repeat("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n<a></a>")
    })
    .await;
    let client = host.client().timeout(minute);
    let error = client.list(&bucket(), "", None).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Unreadable);
    // The document of an error: the status counts.
    let host = Host::start(|_, _| {
        Act::Repeat("HTTP/1.1 403 Forbidden\r\ncontent-length: 99999999999\r\n\r\n<a></a>")
    })
    .await;
    let client = host.client().timeout(minute);
    let error = client.list(&bucket(), "", None).await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Denied);
}

#[tokio::test]
async fn co_13_only_an_endpoint_that_says_so_is_without_tls() {
    let host = Host::start(|_, _| send(FOUND)).await;
    let url = format!("https://127.0.0.1:{}/examplebucket/", host.port);
    let client = host
        .client()
        .endpoint(Endpoint::custom(url.parse().unwrap()));
    // The host waits for a request that it can read.
    let client = client.timeout(Duration::from_millis(200));
    let kind = kind(&client).await;
    assert!(
        matches!(kind, StorageErrorKind::Tls | StorageErrorKind::TimedOut),
        "{kind:?}"
    );
    assert_eq!(host.requests(), Vec::<String>::new());
    let error = client.root_certificates(b"none").unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Tls);
}

/// A provider that always fails.
struct Failing;

impl CredentialsProvider for Failing {
    fn credentials(&self) -> Lookup<Credentials, CredentialsProviderError> {
        Lookup::Ready(Err(CredentialsProviderError::Expired))
    }
}

#[tokio::test]
async fn co_14_without_credentials_nothing_is_sent() {
    let host = Host::start(|_, _| send(FOUND)).await;
    let past = SystemTime::now() - Duration::from_secs(1);
    let expired = Credentials::new("id", "secret").unwrap().with_expiry(past);
    for client in [host.client_of(Failing), host.client_of(expired)] {
        assert_eq!(kind(&client).await, StorageErrorKind::Credentials);
    }
    assert_eq!(host.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_request_for_no_object_is_not_sent() {
    let host = Host::start(|_, _| send(DELETED)).await;
    let client = host.client();
    let error = client.delete(&bucket(), "").await.unwrap_err();
    assert_eq!(error.kind(), StorageErrorKind::Rejected);
    assert_eq!(host.counts(), (0, 0));
}

#[test]
fn secrets_are_not_shown() {
    let credentials = Credentials::new("id", "canary").unwrap();
    let client = OssClient::new("cn-hangzhou".parse().unwrap(), credentials);
    let shown = format!("{client:?}");
    assert!(
        shown.contains("cn-hangzhou") && !shown.contains("canary"),
        "{shown}"
    );
}
