//! One connection for all, made when it is needed and left when it fails.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, ScriptInvocation,
    aio::MultiplexedConnection,
};
use tokio::{sync::OnceCell, time::timeout};

use super::super::store_error::{StoreError, StoreErrorKind};

/// Filled by whoever comes first; the others wait for that one.
type Cell = Arc<OnceCell<MultiplexedConnection>>;

pub(super) struct Connection {
    client: Client,
    current: Mutex<Cell>,
}

impl Connection {
    pub(super) fn new(url: &str) -> Result<Self, StoreError> {
        // The cause is not kept: it could repeat the URL, which may hold a password.
        let client = Client::open(url).map_err(|_| StoreErrorKind::Url)?;
        Ok(Self {
            client,
            current: Mutex::default(),
        })
    }

    /// Runs a script, connecting first when there is no connection. Within `limit`, all of it.
    ///
    /// The script must do the same when it is run twice: over a connection that was lost while nobody used it (a
    /// firewall, a Redis that was restarted) it is run once more over a new one. A connection that failed, or was too
    /// slow, is left to those who are using it, and the next step makes a new one.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        limit: Duration,
    ) -> Result<T, StoreError> {
        let mut cell = self.cell().clone();
        let steps = async {
            let was_connected = cell.initialized();
            match self.invoke_over(&cell, script).await {
                Err(error) if was_connected && error.is_io_error() => {
                    self.leave(&cell);
                    cell = self.cell().clone();
                    self.invoke_over(&cell, script).await
                }
                result => result,
            }
        };
        let error = match timeout(limit, steps).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => StoreError::with_source(StoreErrorKind::Unavailable, error),
            Err(_) => StoreErrorKind::TimedOut.into(),
        };
        self.leave(&cell);
        Err(error)
    }

    async fn invoke_over<T: FromRedisValue>(
        &self,
        cell: &Cell,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        // The whole step has a limit already, and that of the caller counts.
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connect = || {
            self.client
                .get_multiplexed_async_connection_with_config(&patient)
        };
        let mut connection = cell.get_or_try_init(connect).await?.clone();
        script.invoke_async(&mut connection).await
    }

    /// Nobody uses this connection from now on, unless somebody has made a new one already.
    fn leave(&self, cell: &Cell) {
        let mut current = self.cell();
        if Arc::ptr_eq(&current, cell) {
            *current = Cell::default();
        }
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
