//! Measures the requests per second of an axum route with the layer relative to the same route
//! without it, and of the service that issues tokens relative to a route that returns constant JSON
//! of the same length.
//!
//! ```text
//! cargo bench -p benches --bench throughput
//! ```
//!
//! Both servers run in this process on a multi-threaded runtime. `wrk` (Debian: `apt-get install
//! wrk`) loads them over loopback, in five pairs of alternating order. Only the ratio is
//! meaningful.

use std::{
    env,
    io::{self, ErrorKind},
    net::SocketAddr,
    process::Command,
};

use axum::{
    Router,
    body::Bytes,
    http::{header::CONTENT_TYPE, request::Parts},
    routing::{get, post},
    serve::ListenerExt as _,
};
use tokio::{net::TcpListener, runtime::Runtime};
use tower_aliyun_oss::{
    OssCallbackLayer, OssPolicyService,
    callback::CallbackReply,
    policy::{CallbackDirective, CallbackTemplate, Credentials, Grant, Refusal},
    protocol::{CallbackBodyType, SizeRange},
    ticket::{TicketKey, TicketKeys, Tickets},
};

const PAIRS: usize = 5;
const SECONDS: &str = "5s";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/throughput.lua");

async fn on_upload(body: Bytes) -> CallbackReply {
    std::hint::black_box(body);
    CallbackReply::ok()
}

/// The response is about as long as one with a token with a ticket.
const TOKEN_LEN: usize = 4_660;

async fn authorize(_: &Parts) -> Result<Grant, Refusal> {
    let prefix = "user/7/".parse().map_err(|_| Refusal::forbidden())?;
    let size = SizeRange::new(1, 10 << 20).map_err(|_| Refusal::forbidden())?;
    let png = "image/png".parse().map_err(|_| Refusal::forbidden())?;
    Ok(Grant::under(prefix, size).content_type(png))
}

fn token_route() -> Result<Router, Box<dyn std::error::Error>> {
    let callback = CallbackDirective::new("https://app.example/oss/callback")?
        .body(CallbackTemplate::standard(CallbackBodyType::Json))?;
    let tokens = OssPolicyService::new(
        authorize,
        Credentials::new("LTAI5tExample", "a-secret-of-thirty-letters-0123")?,
        "examplebucket".parse()?,
        "cn-hangzhou".parse()?,
        callback,
    )?;
    let keys = TicketKeys::new(1, TicketKey::generate()?);
    let tokens = tokens.tickets(Tickets::in_memory(keys))?;
    Ok(Router::new().route_service("/oss/policy", tokens))
}

fn json_route() -> Router {
    let json: &'static str = format!("{{\"a\":\"{}\"}}", "x".repeat(TOKEN_LEN - 8)).leak();
    let handler = move || async move { ([(CONTENT_TYPE, "application/json")], json) };
    Router::new().route("/oss/policy", get(handler))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    // `cargo bench … -- token` compares the tokens only.
    let tokens_only = env::args().any(|argument| argument == "token");
    if !tokens_only {
        compare_callbacks(&runtime)?;
    }
    let (json, tokens) = (
        start(&runtime, json_route())?,
        start(&runtime, token_route()?)?,
    );
    compare("token (at least 0.75)", &token(json), &token(tokens))?;
    Ok(())
}

fn compare_callbacks(runtime: &Runtime) -> io::Result<()> {
    let route = || Router::new().route("/index.php", post(on_upload));
    let bare = start(runtime, route())?;
    let verified = start(runtime, route().route_layer(OssCallbackLayer::new()))?;
    compare("verified", &callback(bare), &callback(verified))
}

/// The arguments with which `wrk` sends callbacks.
fn callback(server: SocketAddr) -> Vec<String> {
    vec!["-s".into(), SCRIPT.into(), format!("http://{server}")]
}

/// The arguments with which `wrk` requests tokens.
fn token(server: SocketAddr) -> Vec<String> {
    let query = "filename=holiday.png&size=1048576&type=image%2Fpng";
    vec![format!("http://{server}/oss/policy?{query}")]
}

/// Prints the requests per second of both servers, and the median of their ratio.
fn compare(name: &str, bare: &[String], other: &[String]) -> io::Result<()> {
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let (bare, other) = if pair % 2 == 0 {
            let bare = load(bare)?;
            (bare, load(other)?)
        } else {
            let other = load(other)?;
            (load(bare)?, other)
        };
        let ratio = other / bare;
        println!(
            "pair {}: bare {bare:.0}/s, {name} {other:.0}/s, ratio {ratio:.3}",
            pair + 1
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{name}: median ratio {:.3}", ratios[PAIRS / 2]);
    Ok(())
}

fn start(runtime: &Runtime, app: Router) -> io::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move {
        axum::serve(
            listener.tap_io(|stream| {
                let _ = stream.set_nodelay(true);
            }),
            app,
        )
        .await
    });
    Ok(address)
}

/// Loads a server with `wrk` and returns the requests per second. Fails unless every response is a
/// success.
fn load(arguments: &[String]) -> io::Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d", SECONDS])
        .args(arguments)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || !output.status.success() {
        return Err(io::Error::other(format!("wrk: {text}")));
    }
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, text.into_owned()))
}
