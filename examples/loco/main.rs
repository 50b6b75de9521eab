//! Runs the recipe.
//!
//! ```text
//! cargo run --manifest-path examples/loco/Cargo.toml -- 127.0.0.1:8080
//! ```

#[path = "../common/exit.rs"]
mod exit;
#[path = "../common/listen.rs"]
mod listen;
#[path = "../common/stop.rs"]
mod stop;

use std::{error::Error, process::ExitCode};

use example_loco::{serve, uploads::uploads};

const USAGE: &str = "\
usage: loco [ADDRESS]

  ADDRESS   address to listen on, default 127.0.0.1:8080; port 0 selects a free port";

#[tokio::main]
async fn main() -> ExitCode {
    exit::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    if listen::asks_for_help() {
        println!("{USAGE}");
        return Ok(());
    }
    let address = std::env::args().nth(1);
    let listener = listen::bind(address.as_deref().unwrap_or("127.0.0.1:8080")).await?;
    let address = listener.local_addr()?;
    let uploads = uploads(&format!("http://{address}/oss/callback"))
        .map_err(|error| error.to_string())?
        .build()?;
    let stop = stop::stop_signal()?;
    println!("listening on http://{address}");
    serve(listener, &uploads, stop).await?;
    println!("stopped");
    Ok(())
}
