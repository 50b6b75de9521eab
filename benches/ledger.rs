//! Measures what a ledger adds: tokens per second, and callbacks per second, with the store of
//! tickets in memory and in Redis.
//!
//! ```text
//! cargo bench -p benches --bench ledger
//! ```
//!
//! 32 requests are under way at a time, all in this process. Redis runs on this machine, with
//! `appendfsync always`, and without it; the figures for Redis need `redis-server`, and are left
//! out without it. Each round measures every set-up, and the fastest round of each counts, because
//! others may use the machine.

mod redis_server;

use std::{
    convert::Infallible,
    env,
    future::{Future, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::Full;
use serde_json::Value;
use tokio::{runtime::Runtime, task::JoinSet};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_aliyun_oss::{
    Credentials, Grant, OssUploads, Refusal, SizeRange, TicketKey,
    callback::{CallbackReply, RequestBody},
    testing::CallbackSigner,
    ticket::{MemoryStore, TicketKeys, Tickets, ledger::UploadLedger},
};

use redis_server::{Error, Redis};

const ROUNDS: usize = 3;
const CALLS: usize = 2_000;
const AT_A_TIME: usize = 32;

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let size = SizeRange::new(1, 1000)?;
    Ok(Grant::under("user/7/".parse()?, size))
}

/// Returns uploads whose tickets are in this store, which is the ledger too, or not.
fn uploads(store: impl UploadLedger + 'static, ledger: bool) -> Result<OssUploads, Error> {
    let keys = TicketKeys::new(1, TicketKey::generate()?);
    let tickets = match ledger {
        true => Tickets::with_ledger(keys, store),
        false => Tickets::new(keys, store),
    };
    let credentials = Credentials::new("LTAI5tExample", "secret")?;
    Ok(OssUploads::builder("examplebucket".parse()?, credentials)
        .region("cn-hangzhou".parse()?)
        .callback_url("https://app.example/oss/callback")
        .key_source(CallbackSigner::new().key_source())
        .tickets(tickets)
        .build()?)
}

/// Makes the calls, and returns how many a second takes.
async fn rate<F>(calls: usize, call: impl Fn(usize) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (next, call) = (Arc::clone(&next), call.clone());
        tasks.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= calls {
                    return;
                }
                call(n).await;
            }
        });
    }
    tasks.join_all().await;
    calls as f64 / start.elapsed().as_secs_f64()
}

async fn tokens(uploads: &OssUploads) -> f64 {
    let service = uploads.policy_service(authorize);
    rate(CALLS, move |_| {
        let service = service.clone();
        async move {
            let request = Request::new(Full::<Bytes>::default());
            let Ok(response) = service.oneshot(request).await;
            assert_eq!(response.status(), 200);
        }
    })
    .await
}

/// Creates genuine callbacks, each for an upload that is recorded if there is a ledger.
async fn callbacks(uploads: &OssUploads) -> Result<Vec<Request<Full<Bytes>>>, Error> {
    let signer = CallbackSigner::new();
    let mut requests = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let key = format!("k{n}");
        let grant = Grant::exact(key.parse()?, SizeRange::new(1, 1000)?);
        let callback = uploads.recorded_callback_for(&grant).await?;
        let parameters: Value = serde_json::from_slice(&STANDARD.decode(callback.encoded())?)?;
        let body = parameters["callbackBody"].as_str().ok_or("no body")?;
        let filled = [
            ("bucket", "examplebucket"),
            ("object", &key),
            ("size", "5"),
            ("etag", "5D41402ABC4B2A76B9719D911017C592"),
            ("mimeType", "application%2Foctet-stream"),
        ]
        .iter()
        .fold(body.to_owned(), |body, (name, value)| {
            body.replace(&format!("${{{name}}}"), value)
        });
        // OSS leaves the others empty.
        let mut parts = filled.split("${");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
        }
        requests.push(signer.callback("/oss/callback").form(text).request()?);
    }
    Ok(requests)
}

async fn callback_rate(uploads: &OssUploads) -> Result<f64, Error> {
    let requests: Arc<[_]> = callbacks(uploads).await?.into();
    let handler = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
        let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
        ready(Ok::<_, Infallible>(reply))
    });
    let service = uploads.callback_layer().layer(handler);
    Ok(rate(CALLS, move |n| {
        let (service, request) = (service.clone(), requests[n].clone());
        async move {
            let Ok(response) = service.oneshot(request).await;
            assert_eq!(response.status(), 200);
        }
    })
    .await)
}

async fn both(uploads: OssUploads) -> Result<[f64; 2], Error> {
    Ok([tokens(&uploads).await, callback_rate(&uploads).await?])
}

fn main() -> Result<(), Error> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    let servers = [
        ("Redis, appendfsync everysec", Redis::start("everysec")),
        ("Redis, appendfsync always", Redis::start("always")),
    ];
    let mut best = [[[0.0_f64; 2]; 2]; 3];
    for _ in 0..ROUNDS {
        for ledger in [false, true] {
            let mut measured = vec![runtime.block_on(both(uploads(MemoryStore::new(), ledger)?))?];
            for (_, server) in &servers {
                measured.push(match server {
                    Some(server) => runtime.block_on(both(uploads(server.store()?, ledger)?))?,
                    None => [0.0; 2],
                });
            }
            for (best, measured) in best.iter_mut().zip(measured) {
                for (best, rate) in best[usize::from(ledger)].iter_mut().zip(measured) {
                    *best = best.max(rate);
                }
            }
        }
    }
    let names = ["memory", servers[0].0, servers[1].0];
    for (name, [without, with]) in names.iter().zip(best) {
        if with[0] == 0.0 {
            println!("{name}: redis-server is not installed");
            continue;
        }
        for (what, at) in [("tokens", 0), ("callbacks", 1)] {
            println!(
                "{name}, {what}: {:.0}/s, with a ledger {:.0}/s, ratio {:.2}",
                without[at],
                with[at],
                with[at] / without[at]
            );
        }
    }
    Ok(())
}
