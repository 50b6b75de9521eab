//! Used tickets in a Redis that many machines share.

mod connection;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use redis::Script;
use tokio::time::sleep;

use self::connection::Connection;
use super::{
    nonce::{Nonce, fill_random},
    reply::StoredReply,
    store::{Attempt, Begin, Lease, ReplayStore, StoreAnswer, UseLimit},
    store_error::{StoreError, StoreErrorKind},
};

/// The first pause before a running text is asked about again; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How much longer than its ticket an entry lives, so that a clock that is set back does not revive a used ticket.
const KEPT_LONGER: Duration = Duration::from_secs(60 * 60);

/// Remembers used tickets in a Redis, for a service that runs on many machines.
///
/// Each step is one script, atomic and one round trip (two when Redis does not know the script yet). A ticket is one
/// key, `oss-ticket:` and its nonce in hex, which Redis itself drops an hour after the ticket has expired. Leases run
/// by the clock of Redis. While the handler runs for a text elsewhere, that text is asked about every 25 to 400 ms.
///
/// The connection is made when it is first needed, and again when it is found lost: each step can be done twice without
/// being done twice. A Redis that cannot be reached, or takes
/// longer than the [timeout](Self::timeout), is an error, and the callback is answered with 503.
///
/// # What the Redis needs
///
/// * Redis 5 or later, or something that runs its Lua scripts alike.
/// * **`appendonly yes` and `appendfsync always`**, so that what was answered is on disk. With `everysec`, the default
///   once `appendonly` is on, a crash loses up to a second or two; without `appendonly`, everything since the last
///   snapshot. A failover to a replica loses what was not replicated. **Every ticket that was used in what is lost can
///   be used once more** until it expires: its handler runs again for a replayed callback. Nothing that was not
///   granted becomes possible. Where that second run would hurt, let the handler note the nonce in its own
///   transaction.
/// * `maxmemory-policy noeviction`: any other one forgets used tickets when memory is short. With it, a full Redis
///   refuses, and the callback is answered with 503.
/// * A network that you trust: this speaks no TLS. A password can stand in the URL; it is shown nowhere.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_aliyun_oss::ticket::RedisStore;
///
/// let store = RedisStore::new("redis://:secret@10.0.0.5:6379/0")?.timeout(Duration::from_millis(500));
/// # Ok::<(), tower_aliyun_oss::ticket::StoreError>(())
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
    /// How long a step may take when nothing else is said, connecting included: 1 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// The Redis at `url`: `redis://[user:password@]host[:port][/database]`. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Url`] when that is no URL of a Redis, or asks for TLS.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Ok(Self {
            connection: Arc::new(Connection::new(url)?),
            scripts: Arc::new(Scripts {
                begin: Script::new(include_str!("begin.lua")),
                finish: Script::new(include_str!("finish.lua")),
                abandon: Script::new(include_str!("abandon.lua")),
            }),
            timeout: Self::DEFAULT_TIMEOUT,
        })
    }

    /// How long a step may take, connecting included. Keep it below the deadline of the layer.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn try_begin(self, attempt: Attempt) -> Result<Begin, StoreError> {
        let mut fence = [0; 16];
        fill_random(&mut fence)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Unavailable, error))?;
        let max = match attempt.limit() {
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
        let answer: (String, Option<redis::Value>) =
            match self.connection.invoke(&script, self.timeout).await? {
                redis::Value::Array(parts) => {
                    let mut parts = parts.into_iter();
                    let name = parts.next().unwrap_or(redis::Value::Nil);
                    (read(&name)?, parts.next())
                }
                _ => return Err(StoreErrorKind::Unreadable.into()),
            };
        match (answer.0.as_str(), answer.1) {
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
    // A millisecond more than is left, which Redis has rounded down.
    pause
        .min(LONGEST_PAUSE)
        .min(left.saturating_add(Duration::from_millis(1)))
}

/// No longer than a hundred years, so that Redis can add it to a time.
fn milliseconds(time: Duration) -> u64 {
    const MOST: u64 = 100 * 366 * 24 * 60 * 60 * 1000;
    u64::try_from(time.as_millis()).unwrap_or(MOST).min(MOST)
}

fn read<T: redis::FromRedisValue>(value: &redis::Value) -> Result<T, StoreError> {
    T::from_redis_value_ref(value)
        .map_err(|error| StoreError::with_source(StoreErrorKind::Unreadable, error))
}

impl ReplayStore for RedisStore {
    fn begin(&self, attempt: &Attempt) -> StoreAnswer<Begin> {
        StoreAnswer::Pending(Box::pin(self.clone().try_begin(attempt.clone())))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> StoreAnswer<()> {
        let finish = self.clone().try_finish(lease.clone(), reply.to_bytes());
        StoreAnswer::Pending(Box::pin(finish))
    }

    fn abandon(&self, lease: &Lease) -> StoreAnswer<()> {
        StoreAnswer::Pending(Box::pin(self.clone().try_abandon(lease.clone())))
    }
}

impl fmt::Debug for RedisStore {
    /// Leaves the URL out, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
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
