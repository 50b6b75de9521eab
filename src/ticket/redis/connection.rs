//! One connection for all, made when it is needed and left when it fails.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{Client, FromRedisValue, RedisError, ScriptInvocation, aio::MultiplexedConnection};
use tokio::{sync::OnceCell, time::timeout};

use super::super::store::{StoreError, StoreErrorKind};

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
    /// A step whose answer was lost is not tried again: it may have been done. A connection that failed, or was too
    /// slow, is left to those who are using it, and the next step makes a new one.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        limit: Duration,
    ) -> Result<T, StoreError> {
        let cell = self.cell().clone();
        let result = timeout(limit, async {
            let connect = || self.client.get_multiplexed_async_connection();
            let mut connection = cell.get_or_try_init(connect).await?.clone();
            script.invoke_async(&mut connection).await
        });
        let error = match result.await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => unavailable(error),
            Err(_) => StoreErrorKind::TimedOut.into(),
        };
        let mut current = self.cell();
        if Arc::ptr_eq(&current, &cell) {
            *current = Cell::default();
        }
        Err(error)
    }

    fn cell(&self) -> std::sync::MutexGuard<'_, Cell> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(error: RedisError) -> StoreError {
    StoreError::with_source(StoreErrorKind::Unavailable, error)
}
