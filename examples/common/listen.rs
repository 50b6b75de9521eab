//! The command line of a server: `--help`, and the address to listen on.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, lookup_host};

/// Returns whether the command line asks for help.
pub(crate) fn asks_for_help() -> bool {
    std::env::args().any(|argument| matches!(&*argument, "-h" | "--help"))
}

/// Binds an address such as `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.
///
/// # Errors
///
/// Fails with a message that names the address and the remedy.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, String> {
    let address = resolve(address).await?;
    TcpListener::bind(address)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "port {} of {} is in use; stop the other program, or choose another port, for \
                 example 0 for a free one",
                address.port(),
                address.ip()
            ),
            io::ErrorKind::PermissionDenied => format!(
                "no permission to listen on port {}; choose a port above 1023",
                address.port()
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{} is not an address of this machine; use 127.0.0.1 or 0.0.0.0",
                address.ip()
            ),
            _ => format!("failed to listen on {address}: {error}"),
        })
}

/// Looks up a host name. Prefers IPv4, because the page and the callback URL name one address.
pub(crate) async fn resolve(address: &str) -> Result<SocketAddr, String> {
    let malformed = || {
        format!("{address:?} is not an address; use one such as 127.0.0.1:8080 or localhost:8080")
    };
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(malformed());
    }
    let found = lookup_host(address)
        .await
        .map_err(|error| format!("failed to look up the host {host:?}: {error}"))?;
    found
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| format!("the host {host:?} has no address"))
}
