//! Redeemed tickets in a Redis shared by several processes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, Script, ScriptInvocation,
    aio::MultiplexedConnection,
};
use tokio::{
    sync::OnceCell,
    time::{sleep, timeout},
};

use super::{
    super::key::{Nonce, fill_random},
    Attempt, Begin, Lease, ReplayStore, StoreError, StoreErrorKind, StoredReply, UseLimit,
};
use crate::Lookup;

/// The first pause before a running text is polled again. Doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How long a record outlives its ticket, so that setting a clock back does not allow a replay.
const KEPT_LONGER: Duration = Duration::from_secs(60 * 60);

/// Records redeemed tickets in Redis, for a service with several instances.
///
/// Each step is one Lua script: atomic, and one round trip (two if Redis does not know the script
/// yet). A ticket is one key, `oss-ticket:` followed by its nonce in hex, which Redis drops an hour
/// after the ticket expires. Leases are timed by the clock of Redis. A text that another instance
/// is handling is polled every 25 to 400 ms.
///
/// The store connects on first use and reconnects when the connection is lost. Every step is
/// idempotent, so it is safe to repeat it on a new connection. If Redis is unreachable or exceeds
/// the [timeout](Self::timeout), the step fails and the layer responds with 503.
///
/// # Requirements
///
/// * Redis 5 or later, or a server with compatible Lua scripts.
/// * **`appendonly yes` and `appendfsync always`**, so that confirmed replies are on disk. With
///   `everysec`, the default once `appendonly` is on, a crash loses up to a second or two. Without
///   `appendonly` it loses everything since the last snapshot. A failover to a replica loses writes
///   that were not replicated. **Every ticket whose record is lost can be redeemed again** until it
///   expires: its handler runs again for a replayed callback. No new permission arises. Where a
///   second run does harm, record the nonce in the transaction of the handler.
/// * `maxmemory-policy noeviction`. Any other policy evicts records of redeemed tickets when memory
///   is short. With `noeviction` a full Redis refuses writes, and the layer responds with 503.
/// * A trusted network: the connection does not use TLS. The URL can contain a password, which is
///   never shown.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_aliyun_oss::ticket::RedisStore;
///
/// let store = RedisStore::new("redis://:secret@10.0.0.5:6379/0")?
///     .timeout(Duration::from_millis(500));
/// # Ok::<(), tower_aliyun_oss::ticket::store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct RedisStore {
    connection: Arc<Connection>,
    scripts: Arc<Scripts>,
    timeout: Duration,
}

struct Scripts {
    begin: Script,
    finish: Script,
    abandon: Script,
}

impl RedisStore {
    /// The default timeout of a step, including the connection: 1 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// Creates a store for the Redis at `url`: `redis://[user:password@]host[:port][/database]`.
    /// Does not connect yet.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::Url`] if the URL is invalid or requires TLS.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Arc::new(Connection::new(url)?),
            scripts: Arc::new(Scripts {
                begin: Script::new(include_str!("redis/begin.lua")),
                finish: Script::new(include_str!("redis/finish.lua")),
                abandon: Script::new(include_str!("redis/abandon.lua")),
            }),
            timeout: Self::DEFAULT_TIMEOUT,
        })
    }

    /// Sets the timeout of a step, including the connection. Keep it below the deadline of the
    /// layer.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn try_begin(self, attempt: Attempt) -> Result<Begin, StoreError> {
        // Random rather than counted: the instances have no counter in common.
        let mut fence = [0; 16];
        fill_random(&mut fence)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Unavailable, error))?;
        let max = match attempt.limit() {
            // Not 1: of a prefix with one use the second text is exhausted, not another text.
            UseLimit::Once => 0,
            UseLimit::Texts(max) => max.get(),
        };
        let mut script = self.scripts.begin.key(key(attempt.nonce()));
        script
            .arg(&attempt.digest().as_bytes()[..])
            .arg(&fence[..])
            .arg(milliseconds(attempt.lease_time()))
            .arg(milliseconds(time_to_live(&attempt)))
            .arg(max);
        let (name, value): (String, Option<redis::Value>) =
            match self.connection.invoke(&script, self.timeout).await? {
                redis::Value::Array(parts) => {
                    let mut parts = parts.into_iter();
                    let name = parts.next().unwrap_or(redis::Value::Nil);
                    (read(&name)?, parts.next())
                }
                _ => return Err(StoreErrorKind::Unreadable.into()),
            };
        match (name.as_str(), value) {
            ("fresh", None) => Ok(Begin::Fresh(Lease::new(
                &attempt,
                u128::from_be_bytes(fence),
            ))),
            ("stored", Some(reply)) => {
                let reply: Vec<u8> = read(&reply)?;
                let reply = StoredReply::from_bytes(&reply)
                    .map_err(|error| StoreError::with_source(StoreErrorKind::Unreadable, error))?;
                Ok(Begin::Stored(reply))
            }
            ("running", Some(left)) => {
                let left = Duration::from_millis(read(&left)?);
                let pause = pause(attempt.round(), left);
                Ok(Begin::Running(Box::pin(sleep(pause))))
            }
            ("other", None) => Ok(Begin::OtherText),
            ("exhausted", None) => Ok(Begin::Exhausted),
            _ => Err(StoreErrorKind::Unreadable.into()),
        }
    }

    async fn try_finish(self, lease: Lease, reply: Vec<u8>) -> Result<(), StoreError> {
        let mut script = self.scripts.finish.key(key(lease.nonce()));
        script
            .arg(&lease.digest().as_bytes()[..])
            .arg(&lease.fence().to_be_bytes()[..])
            .arg(reply);
        match self.connection.invoke(&script, self.timeout).await? {
            1 => Ok(()),
            0 => Err(StoreErrorKind::LeaseLost.into()),
            _ => Err(StoreErrorKind::Unreadable.into()),
        }
    }

    async fn try_abandon(self, lease: Lease) -> Result<(), StoreError> {
        let mut script = self.scripts.abandon.key(key(lease.nonce()));
        script
            .arg(&lease.digest().as_bytes()[..])
            .arg(&lease.fence().to_be_bytes()[..]);
        self.connection.invoke(&script, self.timeout).await
    }
}

fn key(nonce: Nonce) -> String {
    format!("oss-ticket:{:032x}", u128::from_be_bytes(*nonce.as_bytes()))
}

fn time_to_live(attempt: &Attempt) -> Duration {
    let left = |from: SystemTime| attempt.until().duration_since(from).unwrap_or_default();
    left(attempt.now()).saturating_add(KEPT_LONGER)
}

fn pause(round: u32, left: Duration) -> Duration {
    let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(round));
    // Redis rounds `left` down. One more millisecond, or the next attempt comes too early.
    pause
        .min(LONGEST_PAUSE)
        .min(left.saturating_add(Duration::from_millis(1)))
}

/// Caps a duration at a hundred years, so that Redis can add it to a time without overflow.
fn milliseconds(time: Duration) -> u64 {
    const MAX: u64 = 100 * 366 * 24 * 60 * 60 * 1000;
    u64::try_from(time.as_millis()).unwrap_or(MAX).min(MAX)
}

fn read<T: FromRedisValue>(value: &redis::Value) -> Result<T, StoreError> {
    T::from_redis_value_ref(value)
        .map_err(|error| StoreError::with_source(StoreErrorKind::Unreadable, error))
}

impl ReplayStore for RedisStore {
    // The futures own everything they need: the layer lets them finish in a task of their own after
    // the client has disconnected.

    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        Lookup::pending(self.clone().try_begin(attempt.clone()))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().try_finish(lease.clone(), reply.to_bytes()))
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().try_abandon(lease.clone()))
    }
}

impl fmt::Debug for RedisStore {
    /// Omits the URL, which can contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// One multiplexed connection for all callers, opened on first use and replaced when it fails.
struct Connection {
    client: Client,
    current: Mutex<Cell>,
}

/// Initialized by the first caller, while the others wait for it.
type Cell = Arc<OnceCell<MultiplexedConnection>>;

impl Connection {
    fn new(url: &str) -> Result<Self, StoreError> {
        // The cause is dropped: it could repeat the URL, which can contain a password.
        let client = Client::open(url).map_err(|_| StoreErrorKind::Url)?;
        Ok(Self {
            client,
            current: Mutex::default(),
        })
    }

    /// Runs an idempotent script within `limit`, connecting first if necessary.
    ///
    /// An idle connection can break unnoticed, by a firewall or a restart of Redis. A script that
    /// fails on an existing connection is therefore repeated once on a new one. A connection that
    /// failed or was too slow is left to its current users, and the next step opens a new one.
    async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        limit: Duration,
    ) -> Result<T, StoreError> {
        let mut cell = self.cell().clone();
        let steps = async {
            let was_connected = cell.initialized();
            match self.invoke_over(&cell, script).await {
                // Any other error is a response of Redis, which would be the same again.
                Err(error) if was_connected && error.is_io_error() => {
                    self.replace(&cell);
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
        self.replace(&cell);
        Err(error)
    }

    async fn invoke_over<T: FromRedisValue>(
        &self,
        cell: &Cell,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        // The step as a whole has the limit of the caller. The defaults of the client would cut a
        // longer one short.
        let unlimited = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connect = || {
            self.client
                .get_multiplexed_async_connection_with_config(&unlimited)
        };
        let mut connection = cell.get_or_try_init(connect).await?.clone();
        script.invoke_async(&mut connection).await
    }

    /// Makes later steps open a new connection, unless another caller already replaced this one.
    fn replace(&self, cell: &Cell) {
        let mut current = self.cell();
        if Arc::ptr_eq(&current, cell) {
            *current = Cell::default();
        }
    }

    fn cell(&self) -> MutexGuard<'_, Cell> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_what_is_waited_for() {
        let long = Duration::from_secs(60);
        assert_eq!(
            [0, 1, 2, u32::MAX].map(|round| pause(round, long)),
            [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, LONGEST_PAUSE]
        );
        let left = Duration::from_millis(3);
        assert_eq!(pause(u32::MAX, left), Duration::from_millis(4));
    }

    #[test]
    fn times_are_capped_at_a_hundred_years() {
        assert_eq!(milliseconds(Duration::from_micros(60_000_999)), 60_000);
        let day = Duration::from_secs(24 * 60 * 60);
        let most = milliseconds(day * 366 * 100);
        assert_eq!(u128::from(most), (day * 366 * 100).as_millis());
        assert_eq!(milliseconds(day * 366 * 100 + day), most);
        assert_eq!(milliseconds(Duration::MAX), most);
    }
}
