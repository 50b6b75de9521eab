//! Direct uploads on your own machine, and a page that shows how they work.
//!
//! ```text
//! cargo run --example server --features emulator
//! ```
//!
//! One process serves both an application, by default on 127.0.0.1:8080, and the emulator of OSS on 127.0.0.1:9000.
//! Open the first in a browser. `--listen ADDRESS` and `--oss-listen ADDRESS` choose others, `--allow-origin ORIGIN`
//! lets pages of another origin upload.
//!
//! With `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_BUCKET`, `OSS_REGION` and `OSS_CALLBACK_URL` set, uploads go
//! to the real OSS, and there is no emulator. `OSS_SESSION_TOKEN` may hold a token of STS.
//!
//! It gives a token to everybody who asks, and shows everybody what was uploaded: for demonstrations.

mod app;
mod attacks;
mod backend;
mod feed;
mod grants;
mod options;
mod page;
mod report;
mod serve;
mod watch;

use std::{
    error::Error,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    process::ExitCode,
    task::Poll,
};

use tokio::{net::TcpListener, signal, sync::watch as flag};

use backend::Backend;
use feed::Feed;
use options::Options;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Some(options) = Options::from_arguments(std::env::args().skip(1))? else {
        println!("{}", options::USAGE);
        return Ok(());
    };
    let listener = bind(options.listen).await?;
    let address = listener.local_addr()?;
    let feed = Feed::new();
    let (backend, emulator) = match backend::Account::from_env()? {
        Some(account) => (Backend::real(account)?, None),
        None => {
            let oss = bind(options.oss_listen).await?;
            let origins = options.origins(address);
            let (backend, emulator) =
                Backend::emulated(address, oss.local_addr()?, &origins, &feed)?;
            (backend, Some((emulator, oss)))
        }
    };

    let mut interrupt = pin!(signal::ctrl_c());
    // The first poll takes the signal over: whoever reads the next line may send it at once.
    poll_fn(|cx| Poll::Ready(interrupt.as_mut().poll(cx).is_ready())).await;
    println!("listening on http://{address}");
    println!("uploads go to {}", backend.upload_url());

    let app = app::router(&backend, &feed, &options.allow_origins)?;
    let (stop, stopping) = flag::channel(false);
    let application = serve::serve(listener, app, stopping.clone());
    let store = async {
        if let Some((emulator, listener)) = emulator {
            emulator.run(listener, stopping).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let stopper = async {
        let _ = interrupt.await;
        // Streams have no end of their own.
        feed.close();
        let _ = stop.send(true);
    };
    let ((), stored, ()) = tokio::join!(application, store, stopper);
    stored?;
    println!("stopped");
    Ok(())
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("{address} cannot be listened on: {error}"))
}
