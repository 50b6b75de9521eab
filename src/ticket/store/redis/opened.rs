//! Connections that are opened when they are used, and again after the node has changed.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{RedisError, RedisResult, Value};
use tokio::{sync::OnceCell, time};

use super::step::{Execute, LinkError, Step};

/// A connection to a master that sentinels name, or to a cluster.
pub(super) struct Opened {
    open: Open,
    /// Replaced as a whole, so that the calls of one connection open the next one together.
    current: Mutex<Arc<OnceCell<Execute>>>,
}

/// Opens a connection within a time limit.
pub(super) type Open = Box<dyn Fn(Duration) -> Opening + Send + Sync>;

type Opening = Pin<Box<dyn Future<Output = RedisResult<Execute>> + Send>>;

impl Opened {
    pub(super) fn new(open: Open) -> Self {
        Self {
            open,
            current: Mutex::default(),
        }
    }

    pub(super) async fn execute(&self, step: Step, timeout: Duration) -> Result<Value, LinkError> {
        let cell = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner));
        let execute = cell.get_or_try_init(|| (self.open)(timeout)).await?;
        // A master that hangs keeps its connection, and another one may have taken its place.
        // Shorter than the timeout of the step, which drops this future.
        let limit = timeout.mul_f32(0.9);
        let result = match time::timeout(limit, execute(step)).await {
            Ok(result) => result,
            Err(_) => Err(RedisError::from(io::Error::from(io::ErrorKind::TimedOut)).into()),
        };
        if let Err(error) = &result
            && (error.is_io() || error.is_denied() || error.is_of_another_node())
        {
            self.forget(&cell);
        }
        result
    }

    /// Drops a connection, unless another call has already replaced it.
    fn forget(&self, broken: &Arc<OnceCell<Execute>>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, broken) {
            *current = Arc::default();
        }
    }
}
