//! How callbacks get out.

use std::{
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Names and connections, as the emulator needs them for callbacks: [`SystemNetwork`], or one of your own for tests.
///
/// The emulator asks once for the addresses of a host, checks them, and connects to the first; it speaks HTTP/1.1 over
/// what it gets. For a URL with `https`, `connect` must have done the handshake of TLS.
///
/// ```
/// use std::{future::Future, io, net::SocketAddr, pin::Pin};
/// use aliyun_oss_emulator::{CallbackNetwork, Connection, Destination, Emulator, SystemNetwork};
///
/// type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
///
/// /// Leads `app.example` to this machine, and everything else to where it is.
/// struct Development(SystemNetwork);
///
/// impl CallbackNetwork for Development {
///     fn resolve<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
///         match host {
///             "app.example" => Box::pin(async { Ok(vec![([127, 0, 0, 1], 8080).into()]) }),
///             _ => self.0.resolve(host, port),
///         }
///     }
///
///     fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
///         self.0.connect(to)
///     }
/// }
///
/// let settings = Emulator::builder()
///     .network(Development(SystemNetwork::new()))
///     .allow_private_callbacks();
/// # let _ = settings;
/// ```
pub trait CallbackNetwork: Send + Sync {
    /// The addresses of a host name.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>>;

    /// A connection to where a callback goes.
    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>>;
}

/// Where a callback goes.
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

    /// The address, which has been checked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host of the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the URL says `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Whether TLS may name the host: `callbackSNI`.
    #[must_use]
    pub fn sends_sni(&self) -> bool {
        self.sni
    }
}

/// The network of the machine: its resolver, and plain TCP.
///
/// A URL with `https` cannot be called with it, which the uploader sees as `Error status : 502.`, as with OSS when TLS
/// fails.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemNetwork;

impl SystemNetwork {
    /// The network of the machine.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl CallbackNetwork for SystemNetwork {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, port)).await?.collect()) })
    }

    fn connect<'a>(&'a self, to: &'a Destination) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            if to.https {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let stream = TcpStream::connect(to.address).await?;
            Ok(Connection::new(stream))
        })
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A stream of bytes in both directions.
pub struct Connection(Box<dyn Io>);

impl Connection {
    /// Takes any stream: a socket, TLS, or one half of tokio's `duplex`.
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
