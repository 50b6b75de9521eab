//! Measures what `confirm` adds to a callback with a ticket: the latency of one at a time, and the
//! callbacks per second of 32 at a time.
//!
//! ```text
//! cargo bench -p benches --bench confirm
//! ```
//!
//! The layer runs in this process, and asks the emulator, which runs in it too, over loopback with
//! `OssClient`. Runs with and without `confirm` alternate, and the fastest of each counts, because
//! others may use the machine. The network between a server and OSS is not in the figures.

use std::{
    convert::Infallible,
    env,
    future::ready,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aliyun_oss_emulator::{AccessKey, Emulator, HostedBucket};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_aliyun_oss::{
    Credentials, OssCallbackLayer,
    callback::{CallbackReply, RequestBody},
    policy::internal::{ToSign, sign_headers},
    protocol::{Bucket, Endpoint, Region, SizeRange, SystemVariable, TICKET_FIELD},
    storage::OssClient,
    testing::CallbackSigner,
    ticket::{
        TicketKey, TicketKeys, Tickets,
        internal::{BodyField, FieldValue, Scope, Terms},
        store::Nonce,
    },
};

const TARGET: &str = "/oss/callback";
const ROUNDS: usize = 10;
const CALLS: usize = 1_000;
const AT_A_TIME: usize = 32;

type Error = Box<dyn std::error::Error>;
type Callback = Request<Full<Bytes>>;

fn main() -> Result<(), Error> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    let bench = runtime.block_on(Bench::start())?;
    let mut alone = [Vec::new(), Vec::new()];
    let mut together = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        // The first round warms up.
        for confirm in [false, true] {
            let confirm = confirm ^ (round % 2 == 1);
            let one = runtime.block_on(bench.one_at_a_time(confirm))?;
            let many = runtime.block_on(bench.many_at_a_time(confirm))?;
            if round > 0 {
                alone[usize::from(confirm)].push(one);
                together[usize::from(confirm)].push(many);
            }
        }
    }
    let [plain, confirmed] = alone.map(fastest);
    println!(
        "one at a time: {:.0} us, with confirm {:.0} us: {:.0} us more",
        plain * 1e6,
        confirmed * 1e6,
        (confirmed - plain) * 1e6
    );
    let [plain, confirmed] = together.map(fastest);
    let per_second = |time: f64| 1.0 / time;
    println!(
        "{AT_A_TIME} at a time: {:.0}/s, with confirm {:.0}/s: ratio {:.2}",
        per_second(plain),
        per_second(confirmed),
        plain / confirmed
    );
    Ok(())
}

fn fastest(times: Vec<f64>) -> f64 {
    times.into_iter().fold(f64::INFINITY, f64::min)
}

struct Bench {
    keys: TicketKeys,
    client: OssClient,
}

impl Bench {
    /// Starts an emulator, and stores the object that the callbacks report.
    async fn start() -> Result<Self, Error> {
        let emulator = Emulator::builder()
            .bucket(HostedBucket::new("examplebucket".parse()?))
            .access_key(AccessKey::new("id", "secret"))
            .build()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/examplebucket/", listener.local_addr()?);
        tokio::spawn(emulator.clone().serve(listener));

        let (bucket, region): (Bucket, Region) = ("examplebucket".parse()?, "cn-hangzhou".parse()?);
        let credentials = Credentials::new("id", "secret")?;
        let to_sign = ToSign {
            at: SystemTime::now(),
            region: &region,
            method: &Method::PUT,
            bucket: &bucket,
            key: "a.png",
            query: &[],
            additional: &[],
        };
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "image/png".parse()?);
        sign_headers(&credentials, &to_sign, &mut headers).ok_or("the clock")??;
        let mut put = Request::put("/examplebucket/a.png")
            .header("host", "127.0.0.1")
            .header("content-length", 5)
            .body(Full::from("hello"))?;
        put.headers_mut().extend(headers);
        let stored = emulator.oneshot(put).await?;
        assert_eq!(stored.status(), 200);

        let client = OssClient::new(region, credentials).endpoint(Endpoint::custom(url.parse()?));
        Ok(Self {
            keys: TicketKeys::new(1, TicketKey::generate()?),
            client,
        })
    }

    /// Creates genuine callbacks, each with a ticket of its own.
    fn callbacks(&self) -> Result<Vec<Callback>, Error> {
        let signer = CallbackSigner::new();
        let expires = SystemTime::now() + Duration::from_secs(3600);
        let terms = Terms::new(
            "examplebucket".parse()?,
            Scope::Exact("a.png".parse()?),
            SizeRange::new(1, 1000)?,
            &TARGET.parse()?,
            expires,
        );
        let variables = [
            SystemVariable::Bucket,
            SystemVariable::Object,
            SystemVariable::Size,
            SystemVariable::Etag,
            SystemVariable::MimeType,
        ];
        let callback = || {
            let fields = variables
                .iter()
                .map(|&v| BodyField::new(v.name(), FieldValue::System(v)))
                .chain([BodyField::new(TICKET_FIELD, FieldValue::Ticket)]);
            let nonce = Nonce::random()?;
            let ticket = self.keys.issue(&terms, fields, SystemTime::now(), nonce)?;
            let body = format!(
                "bucket=examplebucket&object=a.png&size=5&etag=5D41402ABC4B2A76B9719D911017C592\
                 &mimeType=image%2Fpng&{TICKET_FIELD}={ticket}"
            );
            Ok(signer.callback(TARGET).form(body).request()?)
        };
        (0..CALLS).map(|_| callback()).collect()
    }

    fn service(
        &self,
        confirm: bool,
    ) -> Result<
        impl Service<
            Callback,
            Response = Response<impl Sized + use<>>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + use<>,
        Error,
    > {
        let layer = OssCallbackLayer::new()
            .key_source(CallbackSigner::new().key_source())
            .tickets(Tickets::in_memory(self.keys.clone()));
        let layer = if confirm {
            layer.confirm(self.client.clone())?
        } else {
            layer
        };
        let handler = service_fn(|_: Request<RequestBody<Full<Bytes>>>| {
            let reply: Response<Full<Bytes>> = CallbackReply::ok().into();
            ready(Ok::<_, Infallible>(reply))
        });
        Ok(layer.layer(handler))
    }

    /// Returns the seconds per callback.
    async fn one_at_a_time(&self, confirm: bool) -> Result<f64, Error> {
        let (service, callbacks) = (self.service(confirm)?, self.callbacks()?);
        let start = Instant::now();
        for callback in callbacks {
            let response = service.clone().oneshot(callback).await?;
            assert_eq!(response.status(), 200);
        }
        Ok(start.elapsed().as_secs_f64() / CALLS as f64)
    }

    /// Returns the seconds per callback.
    async fn many_at_a_time(&self, confirm: bool) -> Result<f64, Error> {
        let service = self.service(confirm)?;
        let callbacks = Arc::new(std::sync::Mutex::new(self.callbacks()?));
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..AT_A_TIME {
            let (service, callbacks) = (service.clone(), Arc::clone(&callbacks));
            tasks.spawn(async move {
                loop {
                    let callback = match callbacks.lock() {
                        Ok(mut callbacks) => callbacks.pop(),
                        Err(_) => None,
                    };
                    let Some(callback) = callback else { return };
                    let Ok(response) = service.clone().oneshot(callback).await;
                    assert_eq!(response.status(), 200);
                }
            });
        }
        tasks.join_all().await;
        Ok(start.elapsed().as_secs_f64() / CALLS as f64)
    }
}
