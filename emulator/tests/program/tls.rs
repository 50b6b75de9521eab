//! HTTPS.

use std::{fs, io::Write as _, net::TcpStream, sync::Arc};

use rcgen::{CertificateParams, PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rsa::{
    PrivateKey,
    pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPublicKey as _},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use sha2::Sha256;

use super::support::{Program, connect, read_response, run};

const KEY: &str = include_str!("../keys/rsa_2048.pem");

/// PEM of a certificate for `localhost` and 127.0.0.1, and of its key.
pub fn for_this_machine() -> [String; 2] {
    let private = PrivateKey::from_pkcs1_pem(KEY).unwrap();
    let public = rsa::PublicKey::from(&private).to_pkcs1_der().unwrap();
    let key = Key {
        public: public.as_bytes().to_vec(),
        private,
    };
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).unwrap();
    params.serial_number = Some(1_u64.into());
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![1; 20]);
    let certificate = params.self_signed(&key).unwrap().pem();
    [certificate, KEY.to_owned()]
}

struct Key {
    private: PrivateKey,
    public: Vec<u8>,
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.private.pkcs1v15_sign::<Sha256>(message).unwrap())
    }
}

/// A client that trusts this certificate.
fn client(certificate: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

fn handshake(
    program: &Program,
    config: &Arc<ClientConfig>,
) -> StreamOwned<ClientConnection, TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(config.clone(), name).unwrap();
    StreamOwned::new(connection, connect(program.address))
}

#[test]
fn it_serves_https() {
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = for_this_machine();
    let (cert, private) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&cert, &certificate).unwrap();
    fs::write(&private, &key).unwrap();
    let (cert, private) = (cert.to_str().unwrap(), private.to_str().unwrap());
    let program = Program::start(&["--tls", cert, private, "--bucket", "open:public-read-write"]);

    let config = client(&certificate);
    let send = |request: &str| {
        let mut stream = handshake(&program, &config);
        stream.write_all(request.as_bytes()).unwrap();
        read_response(stream)
    };
    let host = format!(
        "Host: localhost:{}\r\nConnection: close\r\n",
        program.address.port()
    );
    let response = send(&format!("GET /_emulator/settings HTTP/1.1\r\n{host}\r\n"));
    assert_eq!(
        response.json()["url"],
        format!("https://{}", program.address)
    );
    // The console knows that its own origin is one of https.
    let origin = format!("Origin: https://localhost:{}\r\n", program.address.port());
    let reset = format!("POST /_emulator/reset HTTP/1.1\r\n{host}{origin}\r\n");
    assert_eq!(send(&reset).status, 200);
    let plain = reset.replace("https://", "http://");
    assert_eq!(send(&plain).status, 403);
    // URLs in responses have the scheme of the client.
    let form = "--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na.txt\r\n--b\r\n\
                Content-Disposition: form-data; name=\"success_action_status\"\r\n\r\n201\r\n--b\r\n\
                Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nhello\r\n--b--\r\n";
    let response = send(&format!(
        "POST /open/ HTTP/1.1\r\n{host}Content-Type: multipart/form-data; boundary=b\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    let location = format!("https://localhost:{}/open/a.txt", program.address.port());
    assert!(response.text().contains(&location), "{}", response.text());
    // A client without TLS gets no response in plain text.
    let mut stream = connect(program.address);
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(!answer.starts_with(b"HTTP"));

    let listen = program.address.to_string();
    let health = |cert: &str| {
        run(
            &["--listen", &listen, "--tls", cert, private, "health"],
            &[],
        )
    };
    assert!(health(cert).status.success());
    // A server with another certificate is not this emulator.
    let other = folder.path().join("other.pem");
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.serial_number = Some(2_u64.into());
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(vec![2; 20]);
    let private_key = PrivateKey::from_pkcs1_pem(KEY).unwrap();
    let public = rsa::PublicKey::from(&private_key).to_pkcs1_der().unwrap();
    let key = Key {
        public: public.as_bytes().to_vec(),
        private: private_key,
    };
    fs::write(&other, params.self_signed(&key).unwrap().pem()).unwrap();
    assert_eq!(health(other.to_str().unwrap()).status.code(), Some(1));
}
