//! Direct uploads on one machine, with a page that shows how they work.
//!
//! ```text
//! cargo run --example server
//! ```
//!
//! One process serves both the application, by default on 127.0.0.1:8080, and the emulator of OSS,
//! by default on 127.0.0.1:9000. Open the first address in a browser. `--listen ADDRESS` and
//! `--oss-listen ADDRESS` change the addresses. `--allow-origin ORIGIN` lets pages of another
//! origin upload.
//!
//! If `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_BUCKET`, `OSS_REGION` and
//! `OSS_CALLBACK_URL` are set, uploads go to the real OSS and no emulator runs. `OSS_SESSION_TOKEN`
//! is an optional STS security token.
//!
//! The server issues tokens to every client and lists all uploads to every client. It is meant for
//! demonstrations only.
//!
//! | file | content |
//! |---|---|
//! | `main.rs` | command line, start and stop |
//! | `app.rs` | routes and page |
//! | `backend.rs` | OSS account or emulator, and what the server grants |
//! | `callback.rs` | the callback route: its handler, and a record of what the layer checked |
//! | `feed.rs` | uploads and traces, kept for the page and streamed to it |
//! | `attacks.rs` | forged and replayed callbacks, sent to the callback route on request |
//! | `metrics.rs` | `/metrics` for Prometheus, with `--features server/metrics` |
//! | `outage.rs` | the switch that stops the callback server, and the recovery when it is back |
//! | `recipes.rs` | the code that the page shows, from files that cargo compiles |
//! | `../common` | address to listen on, HTTP server and stop signal, as in the other examples |

mod app;
mod attacks;
mod backend;
mod callback;
#[path = "../common/exit.rs"]
mod exit;
mod feed;
#[path = "../common/listen.rs"]
mod listen;
#[cfg(feature = "metrics")]
mod metrics;
mod outage;
mod recipes;
#[path = "../common/serve.rs"]
mod serve;
#[path = "../common/stop.rs"]
mod stop;

use std::{error::Error, net::SocketAddr, process::ExitCode};

use tokio::{net::TcpListener, sync::watch};

use backend::{Account, Backend};
use feed::Feed;

const USAGE: &str = "\
usage: server [--listen ADDRESS] [--oss-listen ADDRESS] [--allow-origin ORIGIN]…

  --listen ADDRESS       address of the application and its page, default 127.0.0.1:8080;
                         a host name such as localhost:8080 works too
  --oss-listen ADDRESS   address of the emulator of OSS, default 127.0.0.1:9000
  --allow-origin ORIGIN  allows pages of this origin to request tokens and upload

Port 0 selects a free port.";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    exit::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    if listen::asks_for_help() {
        println!("{USAGE}");
        return Ok(());
    }
    let options = Options::from_arguments(std::env::args().skip(1))?;
    let listener = bind("--listen", &options.listen).await?;
    let address = listener.local_addr()?;
    let feed = Feed::new();
    let (backend, emulator) = match Account::from_env()? {
        Some(account) => (Backend::real(account)?, None),
        None => {
            let oss = bind("--oss-listen", &options.oss_listen).await?;
            let origins = options.origins(address);
            let (backend, emulator) =
                Backend::emulated(address, oss.local_addr()?, &origins, &feed)?;
            (backend, Some((emulator, oss)))
        }
    };

    let stopped = stop::stop_signal()?;
    println!("listening on http://{address}");
    println!("uploads go to {}", backend.upload_url());

    let app = app::router(&backend, &feed, &options.allow_origins)?;
    #[cfg(feature = "metrics")]
    let app = app.merge(metrics::router()?);
    let (stop, stopping) = watch::channel(false);
    let mut application_stops = stopping.clone();
    let application = serve::serve(listener, app, async move {
        let _ = application_stops.wait_for(|stop| *stop).await;
    });
    let store = async {
        if let Some((emulator, listener)) = emulator {
            emulator.run(listener, stopping).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let stopper = async {
        stopped.await;
        // Event streams never end on their own and would delay the shutdown.
        feed.close();
        let _ = stop.send(true);
    };
    let ((), stored, ()) = tokio::join!(application, store, stopper);
    stored?;
    println!("stopped");
    Ok(())
}

/// Binds the address that an option names.
async fn bind(option: &str, address: &str) -> Result<TcpListener, String> {
    let listener = listen::bind(address)
        .await
        .map_err(|error| format!("{option} {address}: {error}"))?;
    match listener.local_addr() {
        // Tokens and callbacks contain the address, so clients must be able to connect to it.
        Ok(local) if local.ip().is_unspecified() => Err(format!(
            "{option} {address} is a wildcard; use a specific address that browsers can reach"
        )),
        _ => Ok(listener),
    }
}

/// The parsed command line.
struct Options {
    listen: String,
    oss_listen: String,
    allow_origins: Vec<String>,
}

impl Options {
    /// Parses the arguments.
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            listen: "127.0.0.1:8080".into(),
            oss_listen: "127.0.0.1:9000".into(),
            allow_origins: Vec::new(),
        };
        while let Some(name) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("{name} requires a value"))
            };
            match &*name {
                "--listen" => options.listen = value()?,
                "--oss-listen" => options.oss_listen = value()?,
                "--allow-origin" => options.allow_origins.push(checked_origin(value()?)?),
                _ => return Err(format!("unknown option {name:?}\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// Returns the origins whose pages may post to the emulator: the application's own, and the
    /// allowed ones.
    fn origins(&self, own: SocketAddr) -> Vec<String> {
        let mut origins = vec![format!("http://{own}")];
        if own.ip().is_loopback() {
            origins.push(format!("http://localhost:{}", own.port()));
        }
        origins.extend(self.allow_origins.iter().cloned());
        origins
    }
}

fn checked_origin(text: String) -> Result<String, String> {
    let host = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !host.contains(['/', '*']) => Ok(text),
        _ => Err(format!(
            "{text:?} is not an origin; use one such as https://app.example"
        )),
    }
}
