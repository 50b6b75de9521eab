//! Runs a recipe.
//!
//! ```text
//! cargo run -p example-frameworks -- poem 127.0.0.1:8080
//! ```

#[path = "../common/exit.rs"]
mod exit;
#[path = "../common/listen.rs"]
mod listen;
#[path = "../common/stop.rs"]
mod stop;

use std::{error::Error, process::ExitCode};

use example_frameworks as recipes;

const USAGE: &str = "\
usage: frameworks FRAMEWORK [ADDRESS]

  FRAMEWORK   axum, hyper, poem, salvo, tonic or warp
  ADDRESS     address to listen on, default 127.0.0.1:8080; port 0 selects a free port";

#[tokio::main]
async fn main() -> ExitCode {
    exit::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error + Send + Sync>> {
    if listen::asks_for_help() {
        println!("{USAGE}");
        return Ok(());
    }
    let mut arguments = std::env::args().skip(1);
    let framework = arguments.next().ok_or(USAGE)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = listen::bind(&address).await?;
    let address = listener.local_addr()?;
    let uploads = recipes::uploads::uploads(&format!("http://{address}/oss/callback"))
        .map_err(|error| error.to_string())?
        .build()?;
    let stop = stop::stop_signal()?;
    println!("listening on http://{address}");
    match &*framework {
        "axum" => recipes::axum::serve(listener, &uploads, stop).await?,
        "hyper" => recipes::hyper::serve(listener, &uploads, stop).await?,
        "poem" => recipes::poem::serve(listener, &uploads, stop).await?,
        "salvo" => recipes::salvo::serve(listener, &uploads, stop).await?,
        "tonic" => recipes::tonic::serve(listener, &uploads, stop).await?,
        "warp" => recipes::warp::serve(listener, &uploads, stop).await?,
        _ => return Err(format!("unknown framework {framework:?}\n{USAGE}").into()),
    }
    println!("stopped");
    Ok(())
}
