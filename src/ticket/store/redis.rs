//! Redeemed tickets in a Redis shared by several processes.

#[cfg(feature = "redis-cluster")]
mod cluster;
mod error;
mod ledger;
mod link;
#[cfg(any(feature = "redis-cluster", feature = "redis-sentinel"))]
mod opened;
mod script;
#[cfg(feature = "redis-sentinel")]
mod sentinel;
mod step;

use std::{
    fmt,
    num::NonZeroU8,
    sync::Arc,
    time::{Duration, SystemTime},
};

use redis::{Client, FromRedisValue, Value, aio::ConnectionLike};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use self::{
    error::store_error,
    link::Link,
    script::{Call, LedgerScripts, LuaScript},
    step::Sending,
};
use super::{
    Attempt, Begin, Lease, Nonce, ReplayStore, StoreError, StoreErrorKind, StoredReply, UseLimit,
};
use crate::{Lookup, metrics::RedisCall, ticket::ledger::ExpiredRows};

/// The first pause before a running text is polled again. Doubles with each attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// How long a record outlives its ticket, so that setting a clock back does not allow a replay.
const KEPT_LONGER: Duration = Duration::from_secs(60 * 60);

/// How long an abandoned attempt cannot begin: as long as a `begin` can be delayed by a stalled
/// connection. One that comes even later holds its text until its lease expires.
const TOMBSTONE: Duration = Duration::from_secs(60);

/// Records redeemed tickets in Redis, for a service with several instances.
///
/// Each step is one Lua script: atomic, one round trip, and as fast for a ticket with 65,535 used
/// texts as for a new one. With [`OnFailure::AtMostOnce`](crate::ticket::OnFailure::AtMostOnce) a
/// callback takes [three steps](crate::guide::ledger#steps-in-redis), otherwise two. A ticket is
/// one key, `oss-ticket:{shard}:nonce`, which Redis drops an hour after the ticket expires, beside
/// short-lived keys. The shard is one of 64, two hexadecimal digits of the nonce, and the hash tag
/// of all keys of a step. Leases are timed by the clock of Redis, and renewed while the handler
/// runs. A text that another instance is handling is polled every 25 to 400 ms.
///
/// The store is a [ledger](crate::ticket::ledger::UploadLedger) too. A shard of it is seven keys,
/// `oss-ledger:{shard}:…`; an open row takes about 1.6 KB. See [the guide](crate::guide::ledger).
///
/// The store connects on first use, over one multiplexed connection, and reconnects when that is
/// lost. More connections are [not faster](crate::guide::ledger#latency). Every step is idempotent,
/// so a step that fails with its connection is repeated once. If Redis is unreachable or exceeds
/// the [timeout](Self::timeout), the step fails and the layer responds with 503. The kind of the
/// error tells what happened, see [`StoreErrorKind`].
///
/// # Requirements
///
/// * Redis 5 or later, or a server with compatible Lua scripts: tested with Redis 7.0 and Valkey.
///   For Tair, see [the guide](crate::guide::deployment#tair).
/// * **`appendonly yes` and `appendfsync always`**, so that confirmed replies are on disk. With
///   `everysec`, the default once `appendonly` is on, a crash loses up to a second or two. Without
///   `appendonly` it loses everything since the last snapshot. A failover to a replica loses writes
///   that were not replicated. **Every ticket whose record is lost can be redeemed again** until it
///   expires: its handler runs again for a replayed callback. No new permission arises. Where a
///   second run does harm, record the nonce in the transaction of the handler.
/// * `maxmemory-policy noeviction`. Any other policy evicts records of redeemed tickets when memory
///   is short. With `noeviction` a full Redis refuses new tickets, and the layer responds with 503.
/// * A trusted network, or TLS: a `rediss://` URL with the feature `redis-tls`. The URL can contain
///   a password, which is never shown.
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
    link: Link,
    scripts: Arc<Scripts>,
    ledger_capacity: u64,
    expired: Arc<ExpiredRows>,
    timeout: Duration,
    replicas: Option<NonZeroU8>,
}

struct Scripts {
    begin: LuaScript,
    start: LuaScript,
    renew: LuaScript,
    finish: LuaScript,
    release: LuaScript,
    used_up: LuaScript,
    ledger: LedgerScripts,
}

impl RedisStore {
    /// The default timeout of a step, including the connection: 1 s.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

    /// The default capacity of the [ledger](crate::ticket::ledger::UploadLedger), in open rows: one
    /// million.
    pub const DEFAULT_LEDGER_CAPACITY: u64 = 1_000_000;

    /// Creates a store for the Redis at `url`: `redis://[user:password@]host[:port][/database]`, or
    /// `rediss://…` with the feature `redis-tls`. Does not connect yet.
    ///
    /// With TLS, the trusted roots are those of the system, including `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`; see `with_root_certificates` for others. The cryptography is that of the
    /// rustls provider that the application has installed. If it has installed none, this installs
    /// the built-in provider for the process, because the Redis client uses no other. So install
    /// yours first.
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::Url`] if the URL is invalid, or requires TLS without the
    /// feature, and with [`StoreErrorKind::Tls`] if there is no cryptography for this processor.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        // The cause is dropped: it could repeat the URL, which can contain a password.
        let client = Client::open(url).map_err(|_| StoreErrorKind::Url)?;
        Ok(Self::with_link(Link::own(&client)?))
    }

    /// Creates a store for the Redis at a `rediss://` URL, whose certificate must be issued by one
    /// of these roots instead of those of the system: the CA certificate that the provider of a
    /// managed Redis offers for download, in PEM.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does, and with [`StoreErrorKind::Tls`] if `pem` contains no
    /// valid certificate.
    #[cfg(feature = "redis-tls")]
    pub fn with_root_certificates(url: &str, pem: &[u8]) -> Result<Self, StoreError> {
        use redis::IntoConnectionInfo as _;

        // The client accepts a file without a certificate, and then trusts nothing.
        if !pem.windows(10).any(|line| line == b"-----BEGIN") {
            return Err(StoreErrorKind::Tls.into());
        }
        let url = url
            .into_connection_info()
            .map_err(|_| StoreErrorKind::Url)?;
        if !matches!(url.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            return Err(StoreErrorKind::Url.into());
        }
        let roots = redis::TlsCertificates {
            client_tls: None,
            root_cert: Some(pem.to_vec()),
        };
        let client = Client::build_with_tls(url, roots)
            .map_err(|error| StoreError::with_source(StoreErrorKind::Tls, error))?;
        Ok(Self::with_link(Link::own(&client)?))
    }

    /// Creates a store that uses a connection of the application: a `ConnectionManager`, a
    /// connection to a cluster, or any other that is cheap to clone. How it connects, reconnects
    /// and authenticates is up to it.
    ///
    /// The trait is that of version 1 of the crate `redis`. All keys of a script have the same hash
    /// tag, so a cluster can run it.
    ///
    /// ```no_run
    /// use redis::aio::ConnectionManager;
    /// use tower_aliyun_oss::ticket::RedisStore;
    ///
    /// # async fn connect() -> redis::RedisResult<()> {
    /// let client = redis::Client::open("redis://10.0.0.5")?;
    /// let store = RedisStore::with_connection(ConnectionManager::new(client).await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_connection<C>(connection: C) -> Self
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::with_link(Link::given(connection))
    }

    /// Creates a store on the master that sentinels name, which they replace when it fails.
    /// `master` is the URL of the master with its name in place of the host, such as
    /// `redis://user:password@mymaster/0`, and `rediss://…` for TLS. `sentinels` are the URLs of
    /// the sentinels. Does not connect yet.
    ///
    /// While the sentinels elect a master, steps fail and the layer responds with 503. The new
    /// master lacks what the old one had not replicated, unless the store [waits for
    /// replicas](Self::wait_for_replicas).
    ///
    /// ```no_run
    /// use std::num::NonZeroU8;
    /// use tower_aliyun_oss::ticket::RedisStore;
    ///
    /// let sentinels = ["redis://10.0.0.5:26379", "redis://10.0.0.6:26379", "redis://10.0.0.7:26379"];
    /// let store = RedisStore::sentinel(sentinels, "redis://:secret@mymaster/0")?
    ///     .wait_for_replicas(NonZeroU8::MIN);
    /// # Ok::<(), tower_aliyun_oss::ticket::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::Url`] if a URL is invalid, requires TLS without `redis-tls`, or
    /// if there is no sentinel, and with [`StoreErrorKind::Tls`] as [`new`](Self::new) does.
    #[cfg(feature = "redis-sentinel")]
    pub fn sentinel<'a>(
        sentinels: impl IntoIterator<Item = &'a str>,
        master: &str,
    ) -> Result<Self, StoreError> {
        let opened = sentinel::open(sentinels, master)?;
        Ok(Self::with_link(Link::Opened(Arc::new(opened))))
    }

    /// Creates a store on a cluster, which is found through any of these nodes: URLs as for
    /// [`new`](Self::new), with the same user, password and TLS. Does not connect yet.
    ///
    /// The records of a ticket are in one slot. They move with it while the cluster is resharded.
    /// If a master fails, its replica lacks what was not replicated, unless the store [waits for
    /// replicas](Self::wait_for_replicas).
    ///
    /// ```no_run
    /// use tower_aliyun_oss::ticket::RedisStore;
    ///
    /// let store = RedisStore::cluster(["redis://:secret@10.0.0.5", "redis://:secret@10.0.0.6"])?;
    /// # Ok::<(), tower_aliyun_oss::ticket::store::StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`StoreErrorKind::Url`] if a URL is invalid, requires TLS without `redis-tls`, or
    /// if there is none, and with [`StoreErrorKind::Tls`] as [`new`](Self::new) does.
    #[cfg(feature = "redis-cluster")]
    pub fn cluster<'a>(nodes: impl IntoIterator<Item = &'a str>) -> Result<Self, StoreError> {
        let opened = cluster::open(nodes)?;
        Ok(Self::with_link(Link::Opened(Arc::new(opened))))
    }

    /// Makes every step wait until this many replicas have its effect (`WAIT`). A failover to one
    /// of them then loses no redeemed ticket. A step that too few replicas confirm within 40 % of
    /// the [timeout](Self::timeout) fails with [`StoreErrorKind::NotReplicated`], and the layer
    /// responds with 503.
    ///
    /// A replica confirms what it has in memory. With fewer replicas than that, no callback is
    /// accepted. Each step takes one round trip to the replicas longer, and the steps of one
    /// process wait one after the other. Not for a [connection of the
    /// application](Self::with_connection) to a cluster, which sends `WAIT` to other nodes.
    #[must_use]
    pub const fn wait_for_replicas(mut self, replicas: NonZeroU8) -> Self {
        self.replicas = Some(replicas);
        self
    }

    fn with_link(link: Link) -> Self {
        Self {
            link,
            scripts: Arc::new(Scripts {
                begin: LuaScript::new("begin", include_str!("redis/begin.lua")),
                start: LuaScript::new("start", include_str!("redis/start.lua")),
                renew: LuaScript::new("renew", include_str!("redis/renew.lua")),
                finish: LuaScript::new("finish", include_str!("redis/finish.lua")),
                release: LuaScript::new("release", include_str!("redis/release.lua")),
                used_up: LuaScript::new("used_up", include_str!("redis/used_up.lua")),
                ledger: LedgerScripts::new(),
            }),
            ledger_capacity: Self::DEFAULT_LEDGER_CAPACITY,
            expired: Arc::default(),
            timeout: Self::DEFAULT_TIMEOUT,
            replicas: None,
        }
    }

    /// Sets the timeout of a step, including the connection. Keep it below the deadline of the
    /// layer.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many granted uploads can be open in the
    /// [ledger](crate::ticket::ledger::UploadLedger) at a time. It is divided among 64 parts, so a
    /// part can be full when a small ledger as a whole is not. All instances must have the same
    /// value.
    #[must_use]
    pub const fn ledger_capacity(mut self, rows: u64) -> Self {
        self.ledger_capacity = rows;
        self
    }

    async fn try_begin(self, attempt: Attempt) -> Result<Begin, StoreError> {
        let lease = Lease::new(&attempt);
        let call = Call::of_lease(&self.scripts.begin, &lease)
            .arg(milliseconds(attempt.lease_time()))
            .arg(milliseconds(time_to_live(&attempt)))
            .arg(attempt.limit().get())
            .arg(attempt.max_starts())
            .arg(if attempt.is_at_most_once() { "U" } else { "C" })
            .arg(attempt.max_refusals());
        let (name, value): (String, Option<Value>) = match self.run(&call).await? {
            Value::Array(parts) => {
                let mut parts = parts.into_iter();
                let name = parts.next().unwrap_or(Value::Nil);
                (read(&name)?, parts.next())
            }
            _ => return Err(StoreErrorKind::Unreadable.into()),
        };
        match (name.as_str(), value) {
            ("fresh", None) => Ok(Begin::Fresh(self.keep(lease, attempt.lease_time()))),
            ("stored", Some(reply)) => {
                let reply: Vec<u8> = read(&reply)?;
                Ok(Begin::Stored(StoredReply::from_bytes(&reply)?))
            }
            ("running", Some(left)) => {
                let left = Duration::from_millis(read(&left)?);
                let pause = pause(attempt.round(), left);
                Ok(Begin::Running(Box::pin(sleep(pause))))
            }
            ("full", None) => Ok(match attempt.limit() {
                UseLimit::Once => Begin::OtherText,
                UseLimit::Texts(_) => Begin::Exhausted,
            }),
            ("spent", Some(first)) => Ok(Begin::Spent {
                first: read(&first)?,
            }),
            ("abandoned", None) => Err(StoreErrorKind::LeaseLost.into()),
            _ => Err(StoreErrorKind::Unreadable.into()),
        }
    }

    /// Renews a lease as long as it, or a clone of it, lives in this process.
    fn keep(self, lease: Lease, time: Duration) -> Lease {
        let (nonce, digest, fence) = (lease.nonce(), lease.digest(), lease.fence());
        let task = tokio::spawn(async move {
            loop {
                // Leaves time for two more tries.
                sleep(time / 3).await;
                let call = Call::of_ticket(&self.scripts.renew, nonce, digest, fence)
                    .arg(milliseconds(time));
                match self.run(&call).await {
                    Ok(Value::Int(1)) => {}
                    Ok(_) => return,
                    // Until the lease is dropped: Redis can come back.
                    Err(_) => sleep(FIRST_PAUSE).await,
                }
            }
        });
        lease.guard(Renewal(task.abort_handle()))
    }

    async fn try_start(self, lease: Lease) -> Result<(), StoreError> {
        held(
            &self
                .run(&Call::of_lease(&self.scripts.start, &lease))
                .await?,
        )
    }

    async fn try_finish(self, lease: Lease, reply: Vec<u8>) -> Result<(), StoreError> {
        let call = Call::of_lease(&self.scripts.finish, &lease).arg(reply);
        held(&self.run(&call).await?)
    }

    async fn release(self, lease: Lease, why: &'static str) -> Result<(), StoreError> {
        let call = Call::of_lease(&self.scripts.release, &lease)
            .arg(why)
            .arg(milliseconds(TOMBSTONE));
        self.run(&call).await.map(drop)
    }

    async fn has_used_up(self, nonce: Nonce) -> Result<bool, StoreError> {
        // Of no text, and of no attempt.
        let call = Call::of_ticket(&self.scripts.used_up, nonce, [0; 32], 0);
        read(&self.run(&call).await?)
    }

    async fn run(&self, call: &Call<'_>) -> Result<Value, StoreError> {
        let measured = RedisCall::begin(call.operation());
        let sending = Sending {
            timeout: self.timeout,
            replicas: self.replicas,
        };
        let result = match timeout(self.timeout, self.link.run(call, sending)).await {
            Ok(result) => result.map_err(store_error),
            Err(_) => Err(StoreErrorKind::TimedOut.into()),
        };
        let error = result.as_ref().err().map(StoreError::kind);
        measured.end(error.map(StoreErrorKind::name));
        result
    }
}

/// Ends the renewal of a lease when it is dropped.
struct Renewal(AbortHandle);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
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

fn read<T: FromRedisValue>(value: &Value) -> Result<T, StoreError> {
    T::from_redis_value_ref(value)
        .map_err(|error| StoreError::with_source(StoreErrorKind::Unreadable, error))
}

fn held(value: &Value) -> Result<(), StoreError> {
    match value {
        Value::Int(1) => Ok(()),
        Value::Int(0) => Err(StoreErrorKind::LeaseLost.into()),
        _ => Err(StoreErrorKind::Unreadable.into()),
    }
}

impl ReplayStore for RedisStore {
    // The futures own everything they need: the layer lets them finish in a task of their own after
    // the client has disconnected.

    fn begin(&self, attempt: &Attempt) -> Lookup<Begin, StoreError> {
        Lookup::pending(self.clone().try_begin(attempt.clone()))
    }

    fn start(&self, lease: &Lease) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().try_start(lease.clone()))
    }

    fn finish(&self, lease: &Lease, reply: &StoredReply) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().try_finish(lease.clone(), reply.to_bytes()))
    }

    fn fail(&self, lease: &Lease) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().release(lease.clone(), "ran"))
    }

    fn abandon(&self, lease: &Lease) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().release(lease.clone(), "not run"))
    }

    fn is_used_up(&self, nonce: Nonce) -> Lookup<bool, StoreError> {
        Lookup::pending(self.clone().has_used_up(nonce))
    }

    fn refuse(&self, lease: &Lease) -> Lookup<(), StoreError> {
        Lookup::pending(self.clone().release(lease.clone(), "refused"))
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
