//! Measures the steps of `RedisStore` under concurrent callers, beside `redis-benchmark`, which
//! calls the same scripts with arguments of the same size.
//!
//! ```text
//! cargo bench -p benches --bench redis
//! cargo bench -p benches --bench redis -- always 64     # one setting of persistence, one load
//! ```
//!
//! Each caller makes one call after the other. All callers of the store share one connection;
//! `redis-benchmark` opens one for each. Every round measures both, one after the other, because
//! others may use the machine, and the median of all rounds counts. Then the callers are divided
//! among two and four connections.
//!
//! Needs `redis-server` and `redis-benchmark`, or the programs that `REDIS_SERVER` and
//! `REDIS_BENCHMARK` name.

mod redis_benchmark;
mod redis_server;

use std::{
    env,
    future::Future,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use http::StatusCode;
use tokio::{runtime::Runtime, task::JoinSet};
use tower_aliyun_oss::{
    protocol::CallbackBodyType,
    ticket::{
        RedisStore,
        ledger::{CallbackCall, GrantedUpload, SettledObject, UploadLedger as _},
        store::{
            Attempt, Begin, Lease, Nonce, ReplayStore as _, StoreError, StoreErrorKind,
            StoredReply, UseLimit,
        },
    },
};

use redis_benchmark::{Step, of_redis_benchmark, wait_for_disk};
use redis_server::{Error, Redis};

const ROUNDS: usize = 5;

/// Numbers of concurrent callers.
const LOADS: [usize; 3] = [1, 16, 64];

/// The length of the rows that are measured.
const ROW: usize = 900;

fn reply() -> Result<StoredReply, Error> {
    Ok(StoredReply::new(
        StatusCode::OK,
        None,
        r#"{"Status":"OK"}"#,
    )?)
}

/// Latencies of one step in one round.
#[derive(Clone, Copy)]
struct Figures {
    p50: f64,
    p99: f64,
    rate: f64,
}

impl Figures {
    fn of(mut calls: Vec<Duration>, elapsed: Duration) -> Self {
        calls.sort_unstable();
        let at = |share: f64| {
            let index = (calls.len() as f64 * share).ceil() as usize;
            calls[index.clamp(1, calls.len()) - 1].as_secs_f64() * 1e6
        };
        Self {
            p50: at(0.5),
            p99: at(0.99),
            rate: calls.len() as f64 / elapsed.as_secs_f64(),
        }
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p99, rate } = self;
        write!(f, "p50 {p50:.0} µs, p99 {p99:.0} µs, {rate:.0}/s")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The medians of some rounds.
fn medians(rounds: &[Figures]) -> Figures {
    let of = |get: fn(&Figures) -> f64| median(rounds.iter().map(get).collect());
    Figures {
        p50: of(|round| round.p50),
        p99: of(|round| round.p99),
        rate: of(|round| round.rate),
    }
}

/// The medians of the ratios of each round, so that work of others which slows a round down as a
/// whole does not count.
fn ratios(rounds: &[Figures], to: &[Figures]) -> String {
    let of = |get: fn(&Figures) -> f64| {
        let pairs = rounds.iter().zip(to);
        median(pairs.map(|(one, other)| get(one) / get(other)).collect())
    };
    format!(
        "p50 × {:.2}, p99 × {:.2}, calls × {:.2}",
        of(|round| round.p50),
        of(|round| round.p99),
        of(|round| round.rate)
    )
}

/// Makes the calls, divided among callers.
async fn measure<T, F>(
    callers: usize,
    calls: Vec<T>,
    call: impl Fn(usize, T) -> F,
) -> Result<Figures, StoreError>
where
    F: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    // Each caller has its calls beforehand: nothing but calls is measured.
    let mut shares: Vec<Vec<F>> = (0..callers).map(|_| Vec::new()).collect();
    for (n, argument) in calls.into_iter().enumerate() {
        shares[n % callers].push(call(n % callers, argument));
    }
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for share in shares {
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(share.len());
            for call in share {
                let start = Instant::now();
                call.await?;
                times.push(start.elapsed());
            }
            Ok(times)
        });
    }
    let times: Result<Vec<_>, StoreError> = tasks.join_all().await.into_iter().collect();
    let elapsed = start.elapsed();
    Ok(Figures::of(times?.concat(), elapsed))
}

/// A row as a service with the standard body issues it.
fn upload() -> Result<GrantedUpload, Error> {
    let bucket = "examplebucket".parse()?;
    let random = *Nonce::random()?.as_bytes();
    let key = format!("user/7/{:032x}.jpg", u128::from_be_bytes(random)).parse()?;
    let nonce = Nonce::for_object(&bucket, &key, random);
    let template = "f".repeat(ROW - 150);
    let form = CallbackBodyType::Form;
    let call = CallbackCall::new("/oss/callback", "app.example", form, &template);
    let now = SystemTime::now();
    let expires = now + Duration::from_secs(4_500);
    Ok(GrantedUpload::new(nonce, bucket, key, now, expires, call))
}

fn attempt(upload: &GrantedUpload) -> Result<Attempt, Error> {
    let until = upload.until();
    let attempt = Attempt::new(
        upload.nonce(),
        [7; 32],
        UseLimit::Once,
        until,
        SystemTime::now(),
    )?;
    // No renewal while the calls are measured.
    Ok(attempt.lease(Duration::from_secs(600)))
}

async fn begin(store: RedisStore, attempt: Attempt) -> Result<Lease, StoreError> {
    match store.begin(&attempt).await? {
        Begin::Fresh(lease) => Ok(lease),
        // Each ticket is used once.
        _ => Err(StoreErrorKind::LeaseLost.into()),
    }
}

/// Measures one step of stores that have a connection each. The callers are divided among them.
async fn of_stores(
    step: Step,
    redis: &Redis,
    stores: &[RedisStore],
    callers: usize,
    calls: usize,
) -> Result<Figures, Error> {
    let store = |caller: usize| stores[caller % stores.len()].clone();
    let uploads = (0..calls)
        .map(|_| upload())
        .collect::<Result<Vec<_>, _>>()?;
    let attempts = uploads.iter().map(attempt).collect::<Result<Vec<_>, _>>()?;
    if step == Step::Granted {
        return Ok(measure(callers, uploads, |caller, upload| {
            let store = store(caller);
            async move { store.granted(&[upload]).await }
        })
        .await?);
    }
    if step == Step::Begin {
        return Ok(measure(callers, attempts, |caller, attempt| {
            let store = store(caller);
            async move { begin(store, attempt).await.map(drop) }
        })
        .await?);
    }
    let mut leases = Vec::with_capacity(calls);
    for some in uploads.chunks(100) {
        stores[0].granted(some).await?;
    }
    let mut tickets = uploads.into_iter().zip(attempts);
    loop {
        let mut tasks = JoinSet::new();
        for (upload, attempt) in tickets.by_ref().take(100) {
            let begun = begin(stores[0].clone(), attempt);
            tasks.spawn(async move { Ok::<_, StoreError>((upload, begun.await?)) });
        }
        if tasks.is_empty() {
            break;
        }
        for lease in tasks.join_all().await {
            leases.push(lease?);
        }
    }
    wait_for_disk(&mut redis::Client::open(redis.url())?.get_connection()?)?;
    let reply = Arc::new(reply()?);
    Ok(measure(callers, leases, |caller, (upload, lease)| {
        let (store, reply) = (store(caller), Arc::clone(&reply));
        async move {
            match step {
                Step::Finish => store.finish(&lease, &reply).await,
                _ => {
                    let key = upload.key().as_str();
                    let object = SettledObject::new(upload.bucket().clone(), key)
                        .with_etag("5D41402ABC4B2A76B9719D911017C592");
                    let until = SystemTime::now() + Duration::from_secs(4_500);
                    store.settled(&lease, &reply, &object, until).await
                }
            }
        }
    })
    .await?)
}

fn flush(redis: &Redis) -> Result<(), Error> {
    let mut connection = redis::Client::open(redis.url())?.get_connection()?;
    Ok(redis::cmd("FLUSHALL").query(&mut connection)?)
}

/// Connects stores, and makes Redis know the scripts of all steps.
async fn connect(redis: &Redis, connections: usize) -> Result<Vec<RedisStore>, Error> {
    flush(redis)?;
    let stores = (0..connections)
        .map(|_| redis.store())
        .collect::<Result<Vec<_>, _>>()?;
    for _ in 0..2 {
        for step in Step::ALL {
            of_stores(step, redis, &stores, connections, 4 * connections).await?;
        }
    }
    Ok(stores)
}

const fn calls(callers: usize) -> usize {
    match callers {
        1 => 1_000,
        _ => 3_000,
    }
}

fn beside_redis_benchmark(runtime: &Runtime, redis: &Redis, callers: usize) -> Result<(), Error> {
    let stores = runtime.block_on(connect(redis, 1))?;
    for step in Step::ALL {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            flush(redis)?;
            ours.push(runtime.block_on(of_stores(
                step,
                redis,
                &stores,
                callers,
                calls(callers),
            ))?);
            flush(redis)?;
            bare.push(of_redis_benchmark(step, redis, callers, calls(callers))?);
        }
        println!("  {}", step.name());
        println!("    RedisStore       {}", medians(&ours));
        println!("    redis-benchmark  {}", medians(&bare));
        println!("    ratio            {}", ratios(&ours, &bare));
    }
    Ok(())
}

fn connections(runtime: &Runtime, redis: &Redis, callers: usize) -> Result<(), Error> {
    const CONNECTIONS: [usize; 3] = [1, 2, 4];
    let stores = runtime.block_on(connect(redis, 4))?;
    for step in [Step::Begin, Step::Settled] {
        let mut figures = CONNECTIONS.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (number, figures) in CONNECTIONS.iter().zip(&mut figures) {
                flush(redis)?;
                let stores = &stores[..*number];
                figures.push(runtime.block_on(of_stores(
                    step,
                    redis,
                    stores,
                    callers,
                    calls(callers),
                ))?);
            }
        }
        println!("  {}", step.name());
        for (number, measured) in CONNECTIONS.iter().zip(&figures) {
            let ratios = ratios(measured, &figures[0]);
            println!(
                "    {number} connection(s)  {}  ({ratios})",
                medians(measured)
            );
        }
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let wanted = |name: &str, all: &[&str]| {
        !all.iter()
            .any(|one| arguments.iter().any(|argument| argument == one))
            || arguments.iter().any(|argument| argument == name)
    };
    let runtime = Runtime::new()?;
    let loads = LOADS.map(|load| load.to_string());
    let loads: Vec<&str> = loads.iter().map(|load| &**load).collect();
    let settings = ["off", "everysec", "always"];
    for fsync in settings.into_iter().filter(|name| wanted(name, &settings)) {
        let Some(redis) = Redis::start(fsync) else {
            println!("redis-server is not installed");
            return Ok(());
        };
        for (callers, name) in LOADS.into_iter().zip(&loads) {
            if !wanted(name, &loads) {
                continue;
            }
            println!("persistence {fsync}, {callers} caller(s)");
            beside_redis_benchmark(&runtime, &redis, callers)?;
            if callers > 1 {
                connections(&runtime, &redis, callers)?;
            }
        }
    }
    Ok(())
}
