//! `oss-emulator health`: asks an emulator of the same options whether it is ready.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{console::SERVER, listen::resolve, options::Options, tls};

/// How long the emulator may take to respond.
const DEADLINE: Duration = Duration::from_secs(5);
/// How much of the response is read, in bytes.
const MAX_RESPONSE: u64 = 16 * 1024;

/// # Errors
///
/// Fails with a message if the emulator does not respond.
pub(super) async fn check(options: &Options) -> Result<(), String> {
    let mut address = resolve(&options.listen).await?;
    if address.port() == 0 {
        return Err("--listen: name the port of the emulator, because port 0 is any".to_owned());
    }
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let response = timeout(DEADLINE, ask(options, address));
    let response = response
        .await
        .map_err(|_| format!("the emulator at {address} did not respond within 5 s"))??;
    let status = response.split(' ').nth(1);
    // Its clients may be other than this one: what counts is that it responds.
    let is_own = response.contains(&format!("\r\nserver: {SERVER}\r\n"));
    match status {
        Some("200" | "403") if is_own => Ok(()),
        _ => Err(format!("the server at {address} is not an emulator")),
    }
}

async fn ask(options: &Options, address: SocketAddr) -> Result<String, String> {
    let failed =
        |error: std::io::Error| format!("failed to reach the emulator at {address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    let response = match &options.tls {
        None => exchange(stream, address).await,
        Some((certificate, _)) => {
            let connector = TlsConnector::from(tls::client(certificate)?);
            let name = ServerName::from(address.ip());
            let stream = connector.connect(name, stream).await.map_err(failed)?;
            exchange(stream, address).await
        }
    };
    response.map_err(failed)
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
) -> std::io::Result<String> {
    let request =
        format!("GET /_emulator/health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    let read = stream.take(MAX_RESPONSE).read_to_end(&mut response).await;
    match read {
        // Some servers of TLS end without its closing message.
        Err(error) if response.is_empty() => Err(error),
        _ => Ok(String::from_utf8_lossy(&response).into_owned()),
    }
}
