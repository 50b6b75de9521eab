//! Callbacks to `https` URLs.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
};

use aliyun_oss_emulator::{
    Acl, CallbackNetwork, CallbackTls, Connection, Destination, Emulator, HostedBucket,
    RootCertificateError, SystemNetwork, UploadReport,
};
use axum::{Router, body::Body, routing::post};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, IsCa, date_time_ymd};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, duplex},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use tower_aliyun_oss::{
    OssCallbackLayer,
    callback::{CallbackReply, VerifiedCallback},
    key::PinnedKeys,
};

use super::{
    certificates::{KEY, certificate, changed},
    support::{Answer, BUCKET, builder, callback, good},
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The server names of the handshakes.
type Names = Arc<Mutex<Vec<Option<String>>>>;

/// Returns TLS of a server with this certificate.
fn acceptor(pem: &str, names: &Names, needs_sni: bool) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let key = CertifiedKey::from_der(chain, key, &provider).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Certificate {
            key: Arc::new(key),
            names: names.clone(),
            needs_sni,
        }));
    TlsAcceptor::from(Arc::new(config))
}

/// Keeps the server names. A server with several hosts has no certificate for a client without one.
#[derive(Debug)]
struct Certificate {
    key: Arc<CertifiedKey>,
    names: Names,
    needs_sni: bool,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_owned);
        let known = name.is_some() || !self.needs_sni;
        self.names.lock().unwrap().push(name);
        known.then(|| self.key.clone())
    }
}

/// The application: it verifies callbacks.
fn app(key_source: PinnedKeys) -> Router {
    let handler = async |callback: VerifiedCallback| {
        let body = str::from_utf8(callback.body()).unwrap();
        CallbackReply::json(&json!({ "body": body })).unwrap()
    };
    let layer = OssCallbackLayer::new().key_source(key_source);
    Router::new().route("/cb", post(handler).route_layer(layer))
}

/// Serves one connection with the application, behind TLS.
async fn serve(app: Router, tls: TlsAcceptor, io: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request: Request<Incoming>| {
        let app = app.clone();
        app.oneshot(request.map(Body::new))
    });
    if let Ok(io) = tls.accept(io).await {
        let http = http1::Builder::new();
        let _ = http.serve_connection(TokioIo::new(io), service).await;
    }
}

/// Connects each callback to a server in memory, with the TLS under test.
struct InMemory {
    tls: CallbackTls,
    serve: Box<dyn Fn(DuplexStream) + Send + Sync>,
}

impl CallbackNetwork for InMemory {
    fn resolve<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![([93, 184, 215, 14], port).into()]) })
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let (near, far) = duplex(64 * 1024);
            (self.serve)(far);
            self.tls.handshake(to, near).await
        })
    }
}

/// Returns an emulator whose callbacks reach a server with this certificate, and what it reports.
fn emulator(tls: CallbackTls, pem: &str, names: &Names, needs_sni: bool) -> (Emulator, Reports) {
    let acceptor = acceptor(pem, names, needs_sni);
    let keys = builder().build().unwrap().key_source();
    emulator_with(tls, move |io| {
        tokio::spawn(serve(app(keys.clone()), acceptor.clone(), io));
    })
}

fn emulator_with(
    tls: CallbackTls,
    serve: impl Fn(DuplexStream) + Send + Sync + 'static,
) -> (Emulator, Reports) {
    let reports = Reports::default();
    let kept = reports.clone();
    let network = InMemory {
        tls,
        serve: Box::new(serve),
    };
    let emulator = builder()
        .network(network)
        .observer(move |report| kept.0.lock().unwrap().push(report))
        .build()
        .unwrap();
    (emulator, reports)
}

#[derive(Clone, Default)]
struct Reports(Arc<Mutex<Vec<UploadReport>>>);

impl Reports {
    /// Returns why the last callback got no response.
    fn failure(&self) -> Option<String> {
        let reports = self.0.lock().unwrap();
        let exchanges = reports.last().unwrap().exchanges();
        exchanges.last().unwrap().failure().map(str::to_owned)
    }
}

/// Uploads with a callback to this URL.
async fn upload(emulator: &Emulator, url: &str, sni: Option<bool>) -> Answer {
    let mut parameters = json!({ "callbackUrl": url, "callbackBody": "object=${object}" });
    if let Some(sni) = sni {
        parameters["callbackSNI"] = sni.into();
    }
    let parameters = callback(&parameters);
    good(&[("callback", &parameters)])
        .file(b"x")
        .post(emulator)
        .await
}

fn trusting(pem: &str) -> CallbackTls {
    let tls = CallbackTls::new();
    tls.add_root_certificates(pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn the_host_name_is_sent_only_with_callback_sni() {
    let pem = certificate(1, &["app.example", "127.0.0.1"]);
    let names = Names::default();
    let (emulator, reports) = emulator(trusting(&pem), &pem, &names, false);
    for (host, sni, sent) in [
        ("app.example", Some(true), Some("app.example")),
        ("app.example:8443", Some(true), Some("app.example")),
        ("app.example", Some(false), None),
        ("app.example", None, None),
        // An address is not a server name (RFC 6066, section 3).
        ("93.184.215.14", Some(true), None),
    ] {
        let answer = upload(&emulator, &format!("https://{host}/cb"), sni).await;
        let name = names.lock().unwrap().pop().unwrap();
        assert_eq!(name.as_deref(), sent, "{host} {sni:?}");
        if host.starts_with("app.") {
            assert_eq!(answer.status, 200, "{host}: {}", answer.text());
            assert_eq!(answer.text(), r#"{"body":"object=a.txt"}"#);
            assert_eq!(reports.failure(), None);
        } else {
            // The certificate is for another address.
            assert_eq!(answer.status, 203);
        }
    }
}

#[tokio::test]
async fn em_11_a_callback_goes_only_to_a_host_that_is_verified() {
    let app = &["app.example"];
    let trusted = certificate(1, app);
    let expired = changed(3, app, |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let a_ca = changed(4, app, |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    for (pem, ca, needs_sni, expected) in [
        (
            &trusted,
            &certificate(2, app),
            false,
            "the TLS handshake failed: invalid peer certificate: UnknownIssuer; add its CA with \
             `CallbackTls::add_root_certificates`, or with --callback-ca",
        ),
        (
            &certificate(5, &["other.example"]),
            &certificate(5, &["other.example"]),
            false,
            "the TLS handshake failed: invalid peer certificate: certificate not valid for name \
             \"app.example\"",
        ),
        (&expired, &expired, false, "certificate expired"),
        (&a_ca, &a_ca, false, "CaUsedAsEndEntity"),
        (
            &trusted,
            &trusted,
            true,
            "; no host name was sent, because `callbackSNI` is not true",
        ),
    ] {
        let (emulator, reports) = emulator(trusting(ca), pem, &Names::default(), needs_sni);
        let answer = upload(&emulator, "https://app.example/cb", None).await;
        answer.assert_refused(203, "CallbackFailed", "0007-00000203");
        assert_eq!(answer.element("Message").unwrap(), "Error status : 502.");
        let failure = reports.failure().unwrap();
        assert!(failure.contains(expected), "{failure}");
        assert!(
            !answer.text().contains("TLS"),
            "the report is not for uploaders"
        );
    }
    // The same server, with the name that it asks for.
    let (emulator, _) = emulator(trusting(&trusted), &trusted, &Names::default(), true);
    let answer = upload(&emulator, "https://app.example/cb", Some(true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn em_11_nothing_of_a_callback_is_sent_in_plain_text() {
    let received = Arc::new(Mutex::new(Vec::new()));
    let seen = received.clone();
    let tls = trusting(&certificate(1, &["app.example"]));
    let (emulator, reports) = emulator_with(tls, move |mut io| {
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut bytes = vec![0; 64 * 1024];
            let read = io.read(&mut bytes).await.unwrap();
            // A server without TLS.
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            let _ = io.write_all(answer).await;
            seen.lock().unwrap().extend(&bytes[..read]);
            let _ = io.read_to_end(&mut Vec::new()).await;
        });
    });
    let answer = upload(&emulator, "https://app.example/cb", Some(true)).await;
    answer.assert_refused(203, "CallbackFailed", "0007-00000203");
    let failure = reports.failure().unwrap();
    assert!(
        failure.starts_with("the TLS handshake failed: "),
        "{failure}"
    );
    let received = received.lock().unwrap();
    // A record of the handshake (RFC 8446, section 5.1).
    assert_eq!(received[0], 22);
    let plain = String::from_utf8_lossy(&received);
    assert!(!plain.contains("POST") && !plain.contains("a.txt"));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_never_ends_takes_too_long() {
    let tls = trusting(&certificate(1, &["app.example"]));
    let (emulator, reports) = emulator_with(tls, |mut io| {
        tokio::spawn(async move { io.read_to_end(&mut Vec::new()).await });
    });
    let answer = upload(&emulator, "https://app.example/cb", Some(true)).await;
    answer.assert_refused(203, "CallbackFailed", "0007-00000202");
    assert_eq!(reports.failure().as_deref(), Some("no response within 5 s"));
}

#[tokio::test]
async fn over_the_network_of_the_machine() {
    let pem = certificate(1, &["localhost"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "https://localhost:{}/cb",
        listener.local_addr().unwrap().port()
    );
    let acceptor = acceptor(&pem, &Names::default(), true);
    let keys = builder().build().unwrap().key_source();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(app(keys.clone()), acceptor.clone(), stream));
        }
    });
    let network = SystemNetwork::with_tls(trusting(&pem));
    let emulator = builder().network(network).allow_callbacks_to(&url);
    let answer = upload(&emulator.build().unwrap(), &url, Some(true)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    // An emulator of a test, whose network has no TLS at first.
    let bucket = HostedBucket::new(BUCKET.parse().unwrap()).acl(Acl::PublicReadWrite);
    let oss = Emulator::builder().bucket(bucket).spawn().await.unwrap();
    oss.allow_callbacks_to(&url).unwrap();
    let parameters = json!({ "callbackUrl": url, "callbackBody": "a", "callbackSNI": true });
    let parameters = callback(&parameters);
    let fields = [("key", "a.txt"), ("callback", &*parameters)];
    let failed = oss.upload_form(fields, "a.txt", "x").await.unwrap();
    assert_eq!(failed.status(), 203);
    let failure = failed.callback().unwrap().failure().unwrap();
    assert!(
        failure.contains("`SpawnedEmulator::callback_tls`"),
        "{failure}"
    );
    oss.callback_tls(trusting(&pem));
    let upload = oss.upload_form(fields, "a.txt", "x").await.unwrap();
    assert_eq!(upload.status(), 200, "{:?}", upload.body());
}

#[test]
fn root_certificates_are_pem() {
    let key = KEY.as_bytes();
    for (pem, expected) in [
        (&b""[..], RootCertificateError::NotPem),
        (b"certificate", RootCertificateError::NotPem),
        (key, RootCertificateError::NotPem),
        (
            b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
            RootCertificateError::NotPem,
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            RootCertificateError::NotACertificate,
        ),
    ] {
        let error = CallbackTls::new().add_root_certificates(pem).unwrap_err();
        assert_eq!(error, expected, "{}", String::from_utf8_lossy(pem));
    }
    let both = certificate(1, &["a.example"]) + &certificate(2, &["b.example"]);
    let tls = trusting(&both);
    assert!(format!("{tls:?}").contains("added: 2"), "{tls:?}");
}
