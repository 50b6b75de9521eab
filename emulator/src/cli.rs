//! The program `oss-emulator`, feature `cli`.
//!
//! [`main`] is all of it. The README of this package describes its options, its log, the endpoints
//! below `/_emulator/` and their JSON, and how other languages use it in their tests.

mod command;
mod console;
mod front;
mod guard;
mod health;
mod history;
mod listen;
mod log;
mod options;
mod page;
mod seed;
mod start;
mod tls;

use std::{
    convert::Infallible, error::Error, fs, future::Future, io, net::SocketAddr, process::ExitCode,
    sync::Arc, time::Duration,
};

use hyper::service::service_fn;
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    signal,
    sync::Mutex,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    bucket::HostedBucket,
    builder::EmulatorBuilder,
    callback::{CallbackTls, SystemNetwork},
    cors::CorsRule,
    server::{Http1, serve_connections},
    service::Emulator,
    store::ObjectStore,
};
use console::Console;
use front::Front;
use guard::Guard;
use history::History;
use log::Log;
use options::{Action, Options};
use start::Start;
use tower_aliyun_oss::protocol::Bucket;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The bucket if there is no other one.
const DEFAULT_BUCKET: &str = "examplebucket";
/// The origins of pages of this machine.
const LOCAL_ORIGINS: [&str; 6] = [
    "http://127.0.0.1",
    "http://127.0.0.1:*",
    "http://localhost",
    "http://localhost:*",
    "https://127.0.0.1:*",
    "https://localhost:*",
];

/// Runs the program: parses the command line and the environment, and serves until Ctrl-C or
/// SIGTERM.
///
/// Errors go to standard error. The exit code is 0 after a stop, 1 if the emulator cannot start or
/// is not healthy, and 2 if the command line is malformed.
#[must_use = "the exit code tells whether the emulator has started"]
pub fn main() -> ExitCode {
    let matches = match command::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are errors to the parser, which knows where they go.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = match (options::parse(&matches), runtime) {
        (Err(error), _) => Err(error),
        (_, Err(error)) => Err(format!("failed to start threads: {error}")),
        (Ok(Action::Health(options)), Ok(runtime)) => runtime.block_on(health::check(&options)),
        (Ok(Action::Serve(options)), Ok(runtime)) => runtime.block_on(serve(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed standard error is no reason to panic.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {error}\n"));
            ExitCode::FAILURE
        }
    }
}

async fn serve(options: &Options) -> Result<(), String> {
    log::install_warnings(options.log);
    raise_file_limit();
    let tls = match &options.tls {
        None => None,
        Some((certificate, key)) => Some(TlsAcceptor::from(tls::server(certificate, key)?)),
    };
    let log =
        Log::start(options.log).map_err(|error| format!("failed to start a thread: {error}"))?;
    let history = Arc::new(History::default());
    let emulator = emulator(options, &log, &history)?;
    if let Some(folder) = &options.seed {
        seed::store(&emulator, folder).await?;
    }
    let listener = listen::bind(&options.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("--listen: {error}"))?;
    let stop = stop_signal().map_err(|error| format!("failed to wait for signals: {error}"))?;
    let start = Start::new(options, &emulator, address);
    log.message(&start.text(), "listening", start.object());
    let guard = Guard {
        access: options.console,
        public_url: options.public_url.clone(),
        tls: tls.is_some(),
    };
    let console = Console {
        emulator: emulator.clone(),
        history,
        seed: options.seed.clone(),
        settings: start.object(),
        resetting: Mutex::new(()),
    };
    let front = Arc::new(Front {
        emulator,
        console,
        guard,
    });
    let served = accept(listener, stop, &front, tls.as_ref()).await;
    served.map_err(|error| format!("failed to serve: {error}"))?;
    log.message("stopped", "stopped", json!({}));
    log.end();
    Ok(())
}

/// Raises the limit of open files to the highest that the system allows. Each connection is one,
/// and many shells allow 256 or 1024.
fn raise_file_limit() {
    #[cfg(unix)]
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "failed to raise the limit of open files; use ulimit -n");
    }
}

/// Builds the emulator of the options.
fn emulator(options: &Options, log: &Log, history: &Arc<History>) -> Result<Emulator, String> {
    let store = match &options.data {
        None => ObjectStore::memory(options.memory),
        Some(folder) => ObjectStore::folder(folder).map_err(|error| {
            let cause = match error.kind() {
                io::ErrorKind::ResourceBusy => {
                    "another emulator uses this folder; stop it, or name another folder".to_owned()
                }
                io::ErrorKind::AlreadyExists => {
                    format!("{error}; name an empty folder, or one of an earlier emulator")
                }
                _ => error.to_string(),
            };
            format!("--data: {}: {cause}", folder.display())
        })?,
    };
    let known = store.buckets().all();
    let known: Vec<_> = known.iter().map(|bucket| bucket.name.clone()).collect();
    let mut builder = EmulatorBuilder::new()
        .store(store)
        .create_buckets(options.create_buckets)
        .refuse_foreign_origins();
    if let Some(region) = &options.region {
        builder = builder.region(region.clone());
    }
    if let Some(url) = &options.public_url {
        builder = builder.domain(&url.host);
    }
    for bucket in buckets(options, &known)? {
        builder = builder.bucket(bucket);
    }
    for key in &options.keys {
        builder = builder.access_key(key.clone());
    }
    if options.allow_private_callbacks {
        builder = builder.allow_private_callbacks();
    }
    for url in &options.allow_callbacks {
        builder = builder.allow_callbacks_to(url);
    }
    builder = builder.network(SystemNetwork::with_tls(callback_tls(options)?));
    if options.lenient_forms {
        builder = builder.lenient_multipart();
    }
    if options.refuse_v1 {
        builder = builder.reject_signature_v1();
    }
    for name in &options.foreign_buckets {
        builder = builder.foreign_bucket(name.clone());
    }
    if let Some(after) = options.drop_idle_uploads {
        builder = builder.drop_idle_uploads(after);
    }
    let (log, uploads, requests) = (log.clone(), history.clone(), history.clone());
    builder
        .observer(move |report| uploads.uploaded(&report))
        .request_observer(move |report| log.request(&requests.requested(&report)))
        .build()
        .map_err(|error| format!("the options do not fit together: {error}"))
}

/// Returns the TLS of callbacks, which trusts the certificates of the options.
fn callback_tls(options: &Options) -> Result<CallbackTls, String> {
    let tls = CallbackTls::new();
    let Some(file) = &options.callback_ca else {
        return Ok(tls);
    };
    let invalid = |error: &dyn Error| format!("--callback-ca: {}: {error}", file.display());
    let pem = fs::read(file).map_err(|error| invalid(&error))?;
    let tls = tls.add_root_certificates(&pem);
    tls.map_err(|error| invalid(&error))
}

/// Returns the buckets of the options, those of the objects to start with, and the default, unless
/// `known` of an earlier run takes its place.
fn buckets(options: &Options, known: &[Bucket]) -> Result<Vec<HostedBucket>, String> {
    let origins = match options.allow_origins.is_empty() {
        true => LOCAL_ORIGINS.to_vec(),
        false => options.allow_origins.iter().map(String::as_str).collect(),
    };
    let rule = origins
        .into_iter()
        .fold(CorsRule::any_method(), CorsRule::allow_origin);
    let hosted = |name| HostedBucket::new(name).cors(rule.clone());
    let mut buckets: Vec<_> = options
        .buckets
        .iter()
        .map(|(name, acl)| hosted(name.clone()).acl(*acl))
        .collect();
    if let Some(folder) = &options.seed {
        for name in seed::buckets(folder)? {
            if buckets.iter().all(|bucket| bucket.name != name) {
                buckets.push(hosted(name));
            }
        }
    }
    if buckets.is_empty() && !options.create_buckets {
        let name: Bucket = DEFAULT_BUCKET.parse().map_err(|error| format!("{error}"))?;
        // Also if it is known, so that its CORS rules are those of the options.
        if known.is_empty() || known.contains(&name) {
            buckets.push(hosted(name));
        }
    }
    Ok(buckets)
}

async fn accept(
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    front: &Arc<Front>,
    tls: Option<&TlsAcceptor>,
) -> io::Result<()> {
    serve_connections(listener, stop, |stream, client, http| {
        serve_one(stream, client, http, front.clone(), tls.cloned())
    })
    .await
}

async fn serve_one(
    stream: TcpStream,
    client: SocketAddr,
    http: Http1,
    front: Arc<Front>,
    tls: Option<TlsAcceptor>,
) {
    let Ok(local) = stream.local_addr() else {
        // The client is gone already.
        return;
    };
    let service = service_fn(move |request| {
        let responding = front.clone().respond(request, client, local);
        async move { Ok::<_, Infallible>(responding.await) }
    });
    let Some(tls) = tls else {
        return http.serve(stream, service).await;
    };
    match timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => http.serve(stream, service).await,
        Ok(Err(error)) => tracing::warn!(%client, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%client, "a TLS handshake took too long"),
    }
}

/// Completes on Ctrl-C and, on Unix, on SIGTERM, which container runtimes send.
///
/// The handlers are installed when this function returns.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async {
            let _ = signal::ctrl_c().await;
        })
    }
}
