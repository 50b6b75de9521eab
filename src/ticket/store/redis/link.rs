//! The connection to Redis.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Client, RedisResult, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};

#[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
use super::opened::Opened;
use super::{
    script::Call,
    step::{Execute, LinkError, Sending, Step, execute_over},
};
use crate::ticket::store::{StoreError, StoreErrorKind};

/// How long an idle connection stays silent before the system checks that its peer is alive.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A connection for all callers.
#[derive(Clone)]
pub(super) enum Link {
    Own(Arc<Own>),
    #[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
    Opened(Arc<Opened>),
    Given(Execute),
}

impl Link {
    pub(super) fn own(client: &Client) -> Result<Self, StoreError> {
        let info = client.get_connection_info();
        #[cfg(feature = "redis-tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            install_cryptography()?;
        }
        let tcp = tcp_settings(info.tcp_settings().clone());
        let info = info.clone().set_tcp_settings(tcp);
        let client = Client::open(info).map_err(|_| StoreErrorKind::Url)?;
        Ok(Self::Own(Arc::new(Own {
            client,
            manager: Mutex::default(),
        })))
    }

    pub(super) fn given<C>(connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::Given(execute_over(connection))
    }

    /// Runs an idempotent script.
    ///
    /// An idle connection can break unnoticed, by a firewall or a restart of Redis. A script that
    /// fails with its connection is therefore repeated once; by then the connection is replaced. So
    /// is one that reached a node that no longer accepts writes. Any other error is an answer of
    /// Redis, which would be the same again.
    pub(super) async fn run(&self, call: &Call<'_>, sending: Sending) -> Result<Value, LinkError> {
        match self.run_once(call, sending).await {
            Err(error) if error.is_io() || self.finds_nodes() && error.is_of_another_node() => {
                self.run_once(call, sending).await
            }
            result => result,
        }
    }

    /// Whether a new connection may lead to another node.
    const fn finds_nodes(&self) -> bool {
        !matches!(self, Self::Own(_) | Self::Given(_))
    }

    async fn run_once(&self, call: &Call<'_>, sending: Sending) -> Result<Value, LinkError> {
        let by_hash = Step::new(call.by_hash(), sending);
        match self.execute(by_hash, sending.timeout).await {
            Err(error) if error.is_unknown_script() => {
                let by_code = Step::new(call.by_code(), sending);
                self.execute(by_code, sending.timeout).await
            }
            result => result,
        }
    }

    async fn execute(&self, step: Step, timeout: Duration) -> Result<Value, LinkError> {
        match self {
            Self::Own(own) => own.execute(step, timeout).await,
            #[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
            Self::Opened(opened) => opened.execute(step, timeout).await,
            Self::Given(execute) => execute(step).await,
        }
    }
}

/// Reads a URL, and provides for its TLS.
///
/// # Errors
///
/// Fails without a cause, which could repeat the URL and its password.
#[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
pub(super) fn connection_info(url: &str) -> Result<redis::ConnectionInfo, StoreError> {
    use redis::IntoConnectionInfo as _;

    let info = url
        .into_connection_info()
        .map_err(|_| StoreErrorKind::Url)?;
    #[cfg(feature = "redis-tls")]
    if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        install_cryptography()?;
    }
    Ok(info)
}

/// The settings of the sockets.
pub(super) fn tcp_settings(settings: TcpSettings) -> TcpSettings {
    let alive = redis::io::tcp::socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    let settings = settings.set_nodelay(true).set_keepalive(alive);
    // A firewall can forget a connection, and then drops what is sent: the client would wait for a
    // quarter of an hour. A Redis that is merely slow acknowledges what it receives.
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(KEEPALIVE);
    settings
}

/// A connection that this store opens on first use. The manager replaces it when it breaks.
pub(super) struct Own {
    client: Client,
    manager: Mutex<Option<ConnectionManager>>,
}

impl Own {
    async fn execute(&self, step: Step, timeout: Duration) -> Result<Value, LinkError> {
        let mut manager = self.manager(timeout)?;
        let result = step.send(&mut manager).await;
        // The manager tries again after a connection that failed, and not after one that Redis
        // refused: it would repeat the refusal for ever, even when the password is right again.
        if let Err(error) = &result
            && error.is_denied()
        {
            *self.slot() = None;
        }
        result
    }

    fn manager(&self, timeout: Duration) -> RedisResult<ConnectionManager> {
        let mut slot = self.slot();
        if let Some(manager) = &*slot {
            return Ok(manager.clone());
        }
        // The step as a whole has a timeout. A response timeout of the manager would cut a longer
        // one short, and retries would hide why Redis cannot be reached.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(None);
        let manager = ConnectionManager::new_lazy_with_config(self.client.clone(), config)?;
        Ok(slot.insert(manager).clone())
    }

    fn slot(&self) -> MutexGuard<'_, Option<ConnectionManager>> {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Redis client uses the provider of the process, and panics without one.
#[cfg(feature = "redis-tls")]
fn install_cryptography() -> Result<(), StoreError> {
    use rustls::crypto::CryptoProvider;

    if CryptoProvider::get_default().is_none() {
        let provider = crate::tls::provider().ok_or(StoreErrorKind::Tls)?;
        // Fails if another thread has installed one meanwhile, which is as good.
        drop(CryptoProvider::clone(&provider).install_default());
    }
    Ok(())
}
