//! Measures the requests per second of an axum route with the layer relative to the same route
//! without it.
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

use axum::{Router, body::Bytes, routing::post};
use tokio::{net::TcpListener, runtime::Runtime};
use tower_aliyun_oss::{OssCallbackLayer, callback::CallbackReply};

const PAIRS: usize = 5;
const SECONDS: &str = "5s";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput.lua");

async fn on_upload(body: Bytes) -> CallbackReply {
    std::hint::black_box(body);
    CallbackReply::ok()
}

fn main() -> io::Result<()> {
    // `cargo test --benches` runs this binary too, without `--bench`.
    if !env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = Runtime::new()?;
    let route = || Router::new().route("/index.php", post(on_upload));
    let bare = start(&runtime, route())?;
    let verified = start(&runtime, route().route_layer(OssCallbackLayer::new()))?;
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let (bare, verified) = if pair % 2 == 0 {
            let bare = load(bare)?;
            (bare, load(verified)?)
        } else {
            let verified = load(verified)?;
            (load(bare)?, verified)
        };
        let ratio = verified / bare;
        println!(
            "pair {}: bare {bare:.0}/s, verified {verified:.0}/s, ratio {ratio:.3}",
            pair + 1
        );
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[PAIRS / 2]);
    Ok(())
}

fn start(runtime: &Runtime, app: Router) -> io::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// Loads the server with `wrk` and returns the requests per second. Fails unless every response is
/// a success.
fn load(server: SocketAddr) -> io::Result<f64> {
    let url = format!("http://{server}");
    let output = Command::new("wrk")
        .args(["-t1", "-c32", "-d", SECONDS, "-s", SCRIPT, &url])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if text.contains("Non-2xx") || !output.status.success() {
        return Err(io::Error::other(format!("wrk: {text}")));
    }
    text.lines()
        .find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, text.into_owned()))
}
