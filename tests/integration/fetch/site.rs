//! A local TLS server that stands in for the key host, with a test certificate authority.

use std::{
    future::{Future, ready},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, PKCS_RSA_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm, SigningKey,
    date_time_ymd,
};
use rsa::{pkcs1::EncodeRsaPublicKey as _, pkcs8::EncodePrivateKey as _};
use rustls::{
    ServerConfig, SignatureScheme,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower_aliyun_oss::key::{FetchError, FetchKey as _, HttpsFetcher, KeyTable, KeyUrl};

use crate::support::Signer;

pub(crate) const HOST: &str = "gosspublic.alicdn.com";

pub(crate) fn official(version: u16) -> KeyUrl {
    let header = STANDARD.encode(format!("https://{HOST}/callback_pub_key_v{version}.pem"));
    KeyUrl::from_header(header.as_bytes(), &KeyTable::official()).unwrap()
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls_graviola::default_provider())
}

/// Contents and issuer of a certificate.
#[derive(Clone)]
pub(crate) struct Certificate {
    pub(crate) names: Vec<String>,
    pub(crate) until: i32,
    pub(crate) usage: ExtendedKeyUsagePurpose,
    pub(crate) authority: &'static str,
    pub(crate) self_signed: bool,
}

impl Certificate {
    pub(crate) fn good() -> Self {
        Self {
            names: vec![HOST.to_owned()],
            until: 2090,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
            authority: "The test authority",
            self_signed: false,
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        let key = CertificateKey::new();
        let mut params = CertificateParams::new(self.names.clone()).unwrap();
        params.serial_number = Some(SerialNumber::from(2_u64));
        params.key_identifier_method = KeyIdMethod::PreSpecified(vec![2; 20]);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(self.until, 1, 1);
        params.extended_key_usages = vec![self.usage.clone()];
        params.use_authority_key_identifier_extension = !self.self_signed;
        if self.self_signed {
            params.is_ca = IsCa::ExplicitNoCa;
            return params.self_signed(&key).unwrap().der().clone();
        }
        let authority = Issuer::new(authority(self.authority), &key);
        params.signed_by(&key, &authority).unwrap().der().clone()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(1_u64));
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![1; 20]);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Returns the root certificate that the fetcher trusts, in PEM.
pub(crate) fn root() -> String {
    let params = authority("The test authority");
    params.self_signed(&CertificateKey::new()).unwrap().pem()
}

/// Key pair shared by the authority and all certificates.
struct CertificateKey {
    public: Vec<u8>,
    private: PrivateKeyDer<'static>,
}

impl CertificateKey {
    fn new() -> Self {
        let signer = Signer::with_2048_bits();
        let public = rsa::PublicKey::from(signer.private());
        let private = signer.private().to_pkcs8_der().unwrap();
        Self {
            public: public.to_pkcs1_der().unwrap().as_bytes().to_vec(),
            private: PrivatePkcs8KeyDer::from(private.as_bytes().to_vec()).into(),
        }
    }
}

impl PublicKeyData for CertificateKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for CertificateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let key = provider()
            .key_provider
            .load_private_key(self.private.clone_key())
            .unwrap();
        let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        Ok(signer.unwrap().sign(message).unwrap())
    }
}

pub(crate) type Connection = TlsStream<TcpStream>;

/// The server. It stops when it is dropped.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Site {
    /// Passes each TCP connection to `serve`.
    pub(crate) async fn tcp<F, Fut>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::listening(listener, serve)
    }

    pub(crate) fn listening<F, Fut>(listener: TcpListener, serve: F) -> Self
    where
        F: Fn(TcpStream) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                tokio::spawn(serve(stream));
            }
        });
        Self {
            address,
            connections,
            requests: Arc::default(),
            task,
        }
    }

    /// Passes each TLS connection to `serve`.
    pub(crate) async fn tls<F, Fut>(certificate: &Certificate, alpn: &[&str], serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der()], CertificateKey::new().private)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::tcp(move |stream| {
            let (acceptor, serve) = (acceptor.clone(), serve.clone());
            async move {
                if let Ok(connection) = acceptor.accept(stream).await {
                    serve(connection).await;
                }
            }
        })
        .await
    }

    /// Reads and records one request head per connection, then calls `serve`.
    pub(crate) async fn answering<F, Fut>(serve: F) -> Self
    where
        F: Fn(Connection) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        let mut site = Self::tls(
            &Certificate::good(),
            &["http/1.1"],
            move |mut connection| {
                let (heard, serve) = (Arc::clone(&heard), serve.clone());
                async move {
                    let request = head(&mut connection).await;
                    heard.lock().unwrap().push(request);
                    serve(connection).await;
                }
            },
        )
        .await;
        site.requests = requests;
        site
    }

    /// Sends these bytes to each request, then closes the connection.
    pub(crate) async fn saying(answer: impl Into<Bytes>) -> Self {
        let answer = answer.into();
        Self::answering(move |connection| say(connection, answer.clone())).await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns a fetcher that resolves the key host to this server, with default limits.
    pub(crate) fn fetcher_by_default(&self) -> HttpsFetcher {
        let address = self.address;
        HttpsFetcher::new()
            .root_certificates(root().as_bytes())
            .unwrap()
            .resolver(move |host| {
                assert_eq!(host, HOST);
                ready(Ok(vec![address]))
            })
    }

    /// Returns a fetcher that resolves the key host to this server.
    pub(crate) fn fetcher(&self) -> HttpsFetcher {
        self.fetcher_by_default()
            // Generous limits, so that only tests of slowness run into them.
            .timeout(Duration::from_secs(20))
    }

    pub(crate) async fn fetch(&self) -> Result<Bytes, FetchError> {
        self.fetcher().fetch(&official(2)).await
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a request head, or everything until the connection closes.
pub(crate) async fn head(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

pub(crate) async fn say(mut connection: Connection, answer: Bytes) {
    // Ignore errors: the fetcher closes the connection early when it rejects a response.
    let _ = connection.write_all(&answer).await;
    let _ = connection.shutdown().await;
}

/// Builds a response with an exact length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A listener with a full queue: the system drops SYN packets, so connecting never completes.
pub(crate) struct FullListener {
    pub(crate) address: SocketAddr,
    _listener: TcpListener,
    _queued: Vec<std::net::TcpStream>,
}

impl FullListener {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100));
        let queued: Vec<_> = std::iter::from_fn(|| connect().ok()).take(100).collect();
        assert!(queued.len() < 100, "the accept queue never fills");
        Self {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}
