//! HTTPS.

use std::{fs, io::Write as _, net::TcpStream, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use super::{
    certificates::{KEY, certificate},
    support::{App, Program, callback, connect, read_response, run},
};

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
    let certificate_pem = certificate(1, &["localhost", "127.0.0.1"]);
    let (cert, private) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&cert, &certificate_pem).unwrap();
    fs::write(&private, KEY).unwrap();
    let (cert, private) = (cert.to_str().unwrap(), private.to_str().unwrap());
    let program = Program::start(&["--tls", cert, private, "--bucket", "open:public-read-write"]);

    let config = client(&certificate_pem);
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
    fs::write(&other, certificate(2, &["localhost"])).unwrap();
    assert_eq!(health(other.to_str().unwrap()).status.code(), Some(1));
}

/// An application behind TLS, with this certificate.
fn app(pem: &str) -> App {
    let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls_graviola::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    let app = App::start_over(move |stream| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        StreamOwned::new(connection, stream)
    });
    let url = app.url.replace("http://127.0.0.1", "https://localhost");
    App { url, ..app }
}

#[test]
fn callbacks_over_tls_trust_the_ca_of_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, pem: &str| {
        let file = folder.path().join(name);
        fs::write(&file, pem).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let pem = certificate(1, &["localhost"]);
    let ca = write("ca.pem", &pem);
    let other = write("other.pem", &certificate(2, &["other.example"]));
    let open = [
        "--bucket",
        "open:public-read-write",
        "--allow-private-callbacks",
    ];
    let program = |more: &[&str], variables: &[(&str, &str)]| {
        let arguments = [&open[..], more].concat();
        Program::start_with(&arguments, variables)
    };
    for program in [
        program(&["--callback-ca", &ca], &[]),
        program(&[], &[("OSS_EMULATOR_CALLBACK_CA", &ca)]),
        // The roots of the machine, in the place that OpenSSL knows too.
        program(&[], &[("SSL_CERT_FILE", &ca)]),
        // In addition to them.
        program(&["--callback-ca", &other], &[("SSL_CERT_FILE", &ca)]),
    ] {
        let app = app(&pem);
        let response = program.send("PUT", "/open/a", &callback(&app.url), b"hello");
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(app.called.join().unwrap(), "object=a");
    }

    let mut program = program(&["--callback-ca", &other], &[("SSL_CERT_FILE", &other)]);
    let app = app(&pem);
    let response = program.send("PUT", "/open/a", &callback(&app.url), b"hello");
    assert_eq!(
        (response.status, response.ec()),
        (203, Some("0007-00000203"))
    );
    let request = &program.console("requests?status=203")["requests"][0];
    let callback = &request["callbacks"][0];
    assert!(callback["status"].is_null());
    let failure = callback["failure"].as_str().unwrap();
    assert!(
        failure.starts_with("the TLS handshake failed: "),
        "{failure}"
    );
    let line = program.log_line("PutObject");
    assert!(line.contains(failure), "{line}");
}
