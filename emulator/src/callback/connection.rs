//! Where a callback goes, and the connection that it goes over.

use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Destination of a callback.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Destination {
    address: SocketAddr,
    host: Box<str>,
    https: bool,
    sni: bool,
}

impl Destination {
    pub(super) fn new(address: SocketAddr, host: &str, https: bool, sni: bool) -> Self {
        Self {
            address,
            host: host.into(),
            https,
            sni,
        }
    }

    /// Returns the address, which the emulator has checked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the host of the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns whether the URL is an `https` URL.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Returns whether the TLS handshake sends the host name: the parameter `callbackSNI`.
    #[must_use]
    pub fn sends_sni(&self) -> bool {
        self.sni
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A bidirectional byte stream to the application server.
pub struct Connection(Box<dyn Io>);

impl Connection {
    /// Wraps a stream, such as a socket, a TLS stream or one half of `tokio::io::duplex`.
    #[must_use]
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self(Box::new(io))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
