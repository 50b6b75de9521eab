//! OSS on one machine, without the demo: an application runs in another process.
//!
//! ```text
//! cargo run --example emulator -- 127.0.0.1:9000
//! ```
//!
//! Serves the bucket `examplebucket` to the access key `test-id` with the secret `test-secret`, and
//! allows every page to upload. Objects are in memory. Callbacks are signed with the key of
//! `CallbackSigner`; an application verifies them with `src/testing/public_key.pem`.

#[path = "../common/exit.rs"]
mod exit;
#[path = "../common/listen.rs"]
mod listen;
#[path = "../common/stop.rs"]
mod stop;

use std::{error::Error, process::ExitCode};

use aliyun_oss_emulator::{AccessKey, CorsRule, Emulator, HostedBucket};

const BUCKET: &str = "examplebucket";

const USAGE: &str = "\
usage: emulator [ADDRESS]

  ADDRESS   address to listen on, default 127.0.0.1:9000; port 0 selects a free port";

#[tokio::main]
async fn main() -> ExitCode {
    exit::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    if listen::asks_for_help() {
        println!("{USAGE}");
        return Ok(());
    }
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9000".into());
    if arguments.next().is_some() {
        return Err(format!("unexpected arguments\n{USAGE}").into());
    }
    let emulator = Emulator::builder()
        .bucket(HostedBucket::new(BUCKET.parse()?).cors(CorsRule::any_origin()))
        .access_key(AccessKey::new("test-id", "test-secret"))
        .allow_private_callbacks()
        .build()?;
    let listener = listen::bind(&address).await?;
    let stop = stop::stop_signal()?;
    println!("listening on http://{}/{BUCKET}", listener.local_addr()?);
    emulator.serve_until(listener, stop).await?;
    println!("stopped");
    Ok(())
}
