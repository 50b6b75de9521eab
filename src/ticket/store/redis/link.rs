//! The connection to Redis.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    Client, Cmd, ErrorKind, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};

use super::script::Call;
use crate::ticket::store::StoreError;

/// How long an idle connection stays silent before the system checks that its peer is alive.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// A connection for all callers.
#[derive(Clone)]
pub(super) enum Link {
    Own(Arc<Own>),
    Given(Execute),
}

type Execute =
    Arc<dyn Fn(Cmd) -> Pin<Box<dyn Future<Output = RedisResult<Value>> + Send>> + Send + Sync>;

impl Link {
    pub(super) fn own(client: &Client) -> Result<Self, StoreError> {
        let info = client.get_connection_info();
        #[cfg(feature = "redis-tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            install_cryptography()?;
        }
        let alive = redis::io::tcp::socket2::TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE);
        let tcp = info
            .tcp_settings()
            .clone()
            .set_nodelay(true)
            .set_keepalive(alive);
        // A firewall can forget a connection, and then drops what is sent: the client would wait for
        // a quarter of an hour. A Redis that is merely slow acknowledges what it receives.
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        let tcp = tcp.set_user_timeout(KEEPALIVE);
        let info = info.clone().set_tcp_settings(tcp);
        let client = Client::open(info).map_err(|_| super::StoreErrorKind::Url)?;
        Ok(Self::Own(Arc::new(Own {
            client,
            manager: Mutex::default(),
        })))
    }

    pub(super) fn given<C>(connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::Given(Arc::new(move |command| {
            let mut connection = connection.clone();
            Box::pin(async move { command.query_async(&mut connection).await })
        }))
    }

    /// Runs an idempotent script.
    ///
    /// An idle connection can break unnoticed, by a firewall or a restart of Redis. A script that
    /// fails with its connection is therefore repeated once; by then the connection is replaced. Any
    /// other error is an answer of Redis, which would be the same again.
    pub(super) async fn run(&self, call: &Call<'_>, timeout: Duration) -> RedisResult<Value> {
        match self.run_once(call, timeout).await {
            Err(error) if error.is_io_error() => self.run_once(call, timeout).await,
            result => result,
        }
    }

    async fn run_once(&self, call: &Call<'_>, timeout: Duration) -> RedisResult<Value> {
        const UNKNOWN_SCRIPT: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
        match self.execute(call.by_hash(), timeout).await {
            Err(error) if error.kind() == UNKNOWN_SCRIPT => {
                self.execute(call.by_code(), timeout).await
            }
            result => result,
        }
    }

    async fn execute(&self, command: Cmd, timeout: Duration) -> RedisResult<Value> {
        match self {
            Self::Own(own) => own.execute(&command, timeout).await,
            Self::Given(execute) => execute(command).await,
        }
    }
}

/// A connection that this store opens on first use. The manager replaces it when it breaks.
pub(super) struct Own {
    client: Client,
    manager: Mutex<Option<ConnectionManager>>,
}

impl Own {
    async fn execute(&self, command: &Cmd, timeout: Duration) -> RedisResult<Value> {
        let mut manager = self.manager(timeout)?;
        let result = command.query_async(&mut manager).await;
        // The manager tries again after a connection that failed, and not after one that Redis
        // refused: it would repeat the refusal for ever, even when the password is right again.
        if let Err(error) = &result
            && error.kind() == ErrorKind::AuthenticationFailed
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
        let provider = crate::tls::provider().ok_or(super::StoreErrorKind::Tls)?;
        // Fails if another thread has installed one meanwhile, which is as good.
        drop(CryptoProvider::clone(&provider).install_default());
    }
    Ok(())
}
