//! The master that sentinels name.

use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, TlsMode,
    sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType},
};

use super::{
    link::{connection_info, tcp_settings},
    opened::{Open, Opened},
    step::execute_over,
};
use crate::ticket::store::{StoreError, StoreErrorKind};

/// Connects to the master that one of `sentinels` names. The host of `master` is its name.
pub(super) fn open<'a>(
    sentinels: impl IntoIterator<Item = &'a str>,
    master: &str,
) -> Result<Opened, StoreError> {
    let master = connection_info(master)?;
    let (name, is_tls) = match master.addr() {
        ConnectionAddr::Tcp(name, _) => (name.clone(), false),
        ConnectionAddr::TcpTls { host, .. } => (host.clone(), true),
        _ => return Err(StoreErrorKind::Url.into()),
    };
    let mut node = SentinelNodeConnectionInfo::default()
        .set_redis_connection_info(master.redis_settings().clone())
        .set_tcp_settings(tcp_settings(master.tcp_settings().clone()));
    if is_tls {
        node = node.set_tls_mode(TlsMode::Secure);
    }
    let sentinels = sentinels
        .into_iter()
        .map(connection_info)
        .collect::<Result<Vec<_>, _>>()?;
    if sentinels.is_empty() {
        return Err(StoreErrorKind::Url.into());
    }
    // The client asks one sentinel after the other, and waits longer for one whose machine is gone
    // than a step may take. So each attempt asks another one first.
    let first = AtomicUsize::new(0);
    let open: Open = Box::new(move |timeout| {
        let (mut sentinels, name, node) = (sentinels.clone(), name.clone(), node.clone());
        let first = first.fetch_add(1, Ordering::Relaxed) % sentinels.len();
        sentinels.rotate_left(first);
        Box::pin(async move {
            let mut client =
                SentinelClient::build(sentinels, name, Some(node), SentinelServerType::Master)?;
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout))
                // The step as a whole has a timeout.
                .set_response_timeout(None);
            let connection = client.get_async_connection_with_config(&config).await?;
            Ok(execute_over(connection))
        })
    });
    Ok(Opened::new(open))
}
