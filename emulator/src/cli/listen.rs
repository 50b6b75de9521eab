//! The address to listen on.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, lookup_host};

/// Binds an address such as `127.0.0.1:9000`, `[::1]:9000` or `localhost:9000`.
///
/// # Errors
///
/// Fails with a message that names the address and the remedy.
pub(super) async fn bind(address: &str) -> Result<TcpListener, String> {
    let address = resolve(address).await?;
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "--listen: port {} of {} is in use; stop the other program, or choose another port, \
                 for example 0 for a free one",
                address.port(),
                address.ip()
            ),
            io::ErrorKind::PermissionDenied => format!(
                "--listen: no permission to listen on port {}; choose a port above 1023",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "--listen: {} is not an address of this machine; use 127.0.0.1 or 0.0.0.0",
                address.ip()
            ),
            _ => format!("--listen: failed to listen on {address}: {error}"),
        })
}

/// Looks up a host name. Prefers IPv4, because the start message names one address.
pub(super) async fn resolve(address: &str) -> Result<SocketAddr, String> {
    let malformed = || {
        format!(
            "--listen: {address:?} is not an address; use one such as 127.0.0.1:9000 or 0.0.0.0:9000"
        )
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(malformed());
    }
    let found = lookup_host(address)
        .await
        .map_err(|error| format!("--listen: failed to look up the host {host:?}: {error}"))?;
    found
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| format!("--listen: the host {host:?} has no address"))
}
