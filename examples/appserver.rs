//! An application server for direct uploads: a drop-in replacement for Alibaba's sample server.
//!
//! ```text
//! cargo run --example appserver --features axum -- 127.0.0.1 8080
//! ```
//!
//! `GET` on any path returns an upload token; `POST` on any path is handled as a callback from OSS.
//! Configuration comes from environment variables:
//!
//! * `OSS_ACCESS_KEY_ID`, `OSS_ACCESS_KEY_SECRET`, `OSS_HOST`, `OSS_CALLBACK_URL` and
//!   `OSS_UPLOAD_DIR` default to the placeholders of the sample.
//! * `OSS_REGION` (such as `cn-hangzhou`) selects signature version 4 and the token format of
//!   Alibaba's current samples. Without it, tokens have the format of the first samples, whose
//!   signature version 1 Alibaba Cloud is switching off; a warning says so.
//! * `OSS_SESSION_TOKEN` is an STS security token. It requires `OSS_REGION`.
//! * `OSS_BUCKET` restricts tokens to that bucket.
//! * `OSS_TICKET_KEY` (Base64 of at least 32 random bytes: `openssl rand -base64 32`) enables
//!   tickets: the server accepts only callbacks of uploads that it granted, each of them once. It
//!   requires `OSS_BUCKET`.
//! * `OSS_CALLBACK_PUBLIC_KEY` (a PEM block, or the path of a file that contains one) replaces the
//!   public key of OSS. With the key of the emulator, the server can be tried without an account.
//! * `RUST_LOG=debug` logs why a callback was rejected, and what to change when no signature ever
//!   matches.

#[path = "common/exit.rs"]
mod exit;
#[path = "common/listen.rs"]
mod listen;
#[path = "common/serve.rs"]
mod serve;
#[path = "common/stop.rs"]
mod stop;

use std::{
    env::{self, VarError},
    error::Error,
    fs,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use axum::{Router, routing::post};
use http::Method;
use tower_aliyun_oss::{
    OssCallbackLayer, OssPolicyService,
    callback::{CallbackReply, UploadEvent, VerifiedCallback},
    key::{PinnedKeys, PublicKey},
    policy::{CallbackDirective, Credentials},
    protocol::{Bucket, Region},
    ticket::{TicketKey, TicketKeys, Tickets},
};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing_subscriber::{
    Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// The token lifetime of the samples.
const TOKEN_LIFETIME: Duration = Duration::from_secs(30);

/// The variable that replaces the public key of OSS.
const PUBLIC_KEY: &str = "OSS_CALLBACK_PUBLIC_KEY";

const USAGE: &str = "\
usage: appserver [ADDRESS [PORT]]

  ADDRESS   IP address or host name to listen on, default 127.0.0.1
  PORT      default 8080; 0 selects a free port

Environment variables configure the rest; docs/sample-drop-in.md lists them.";

#[tokio::main]
async fn main() -> ExitCode {
    exit::exit(run().await)
}

async fn run() -> Result<(), Box<dyn Error>> {
    if listen::asks_for_help() {
        println!("{USAGE}");
        return Ok(());
    }
    let address = address(env::args().skip(1))?;
    let log: Targets = parsed("RUST_LOG", "info", str::parse)?;
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_filter(log))
        .init();
    let app = app()?;
    let listener = listen::bind(&address).await?;
    let stop = stop::stop_signal()?;
    println!("listening on http://{}", listener.local_addr()?);
    // After the line above, which scripts read as the first one.
    if env::var_os(PUBLIC_KEY).is_some() {
        tracing::warn!("{PUBLIC_KEY} is set, so callbacks that OSS signs are rejected");
    }
    if env::var_os("OSS_REGION").is_none() {
        tracing::warn!(
            "OSS_REGION is not set, so tokens use signature version 1, which Alibaba Cloud is \
             switching off: for new accounts since 2025-03-01, for new buckets since 2025-09-01 \
             (403, EC 0002-00000080); set OSS_REGION, for example to cn-hangzhou"
        );
    }
    if env::var_os("OSS_TICKET_KEY").is_none() && env::var_os(PUBLIC_KEY).is_none() {
        tracing::warn!(
            "OSS_TICKET_KEY is not set, so every callback that OSS signed is accepted, those for \
             other customers too; set OSS_BUCKET and OSS_TICKET_KEY (openssl rand -base64 32)"
        );
    }
    serve::serve(listener, app, stop).await;
    println!("stopped");
    Ok(())
}

fn app() -> Result<Router, Box<dyn Error>> {
    let region: Option<Region> = optional("OSS_REGION", str::parse)?;
    let bucket: Option<Bucket> = optional("OSS_BUCKET", str::parse)?;
    let named = bucket.is_some();
    let mut tokens = OssPolicyService::public_demo(
        credentials(region.is_some())?,
        parsed(
            "OSS_HOST",
            "http://bucket-name.oss-cn-hangzhou.aliyuncs.com",
            str::parse,
        )?,
        parsed("OSS_UPLOAD_DIR", "user-dir-prefix/", str::parse)?,
        parsed(
            "OSS_CALLBACK_URL",
            "http://88.88.88.88:8888",
            CallbackDirective::new,
        )?,
    )?
    .lifetime(TOKEN_LIFETIME)?;
    if let Some(bucket) = bucket {
        tokens = tokens.bucket(bucket);
    }
    if let Some(region) = region {
        tokens = tokens.region(region);
    }
    let mut verified = OssCallbackLayer::new();
    if let Some(key) = public_key()? {
        verified = verified.key_source(PinnedKeys::official().with_version(1, key));
    }
    if let Some(tickets) = tickets()? {
        if !named {
            return Err("OSS_TICKET_KEY needs OSS_BUCKET: a ticket is bound to one bucket".into());
        }
        tokens = tokens.tickets(tickets.clone())?;
        verified = verified.tickets(tickets);
    }
    // Any page may request a token, but without the visitor's cookies.
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([Method::GET]);
    let any_path = post(on_upload)
        .route_layer(verified)
        .get_service(tokens)
        .layer(cors);
    Ok(Router::new().fallback_service(any_path.with_state(())))
}

/// Enables tickets if `OSS_TICKET_KEY` is set.
fn tickets() -> Result<Option<Tickets>, Box<dyn Error>> {
    match env::var("OSS_TICKET_KEY") {
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err("OSS_TICKET_KEY is not valid Unicode".into()),
        Ok(text) => {
            let key = TicketKey::from_base64(&text).map_err(|e| format!("OSS_TICKET_KEY: {e}"))?;
            Ok(Some(Tickets::in_memory(TicketKeys::new(1, key))))
        }
    }
}

/// Reads the key in `OSS_CALLBACK_PUBLIC_KEY`, which replaces the one of OSS.
fn public_key() -> Result<Option<PublicKey>, Box<dyn Error>> {
    if env::var_os(PUBLIC_KEY).is_none() {
        return Ok(None);
    }
    let value = setting(PUBLIC_KEY, "")?;
    let pem = if value.contains("-----BEGIN") {
        value
    } else {
        fs::read_to_string(&value).map_err(|e| {
            format!("{PUBLIC_KEY} is {value:?}, neither a PEM block nor a file: {e}")
        })?
    };
    let key = PublicKey::from_pem(pem.as_bytes()).map_err(|e| format!("{PUBLIC_KEY}: {e}"))?;
    Ok(Some(key))
}

fn credentials(v4: bool) -> Result<Credentials, Box<dyn Error>> {
    let credentials = Credentials::new(
        setting("OSS_ACCESS_KEY_ID", "<yourAccessKeyId>")?,
        setting("OSS_ACCESS_KEY_SECRET", "<yourAccessKeySecret>")?,
    )?;
    match env::var("OSS_SESSION_TOKEN") {
        Err(VarError::NotPresent) => Ok(credentials),
        Err(VarError::NotUnicode(_)) => Err("OSS_SESSION_TOKEN is not valid Unicode".into()),
        Ok(_) if !v4 => Err(
            "OSS_SESSION_TOKEN needs OSS_REGION: the first token format has no field for it".into(),
        ),
        Ok(token) => Ok(credentials.with_security_token(token)?),
    }
}

/// Reads an optional setting, which has no placeholder.
fn optional<T, E: Error>(
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, String> {
    match env::var_os(name) {
        None => Ok(None),
        Some(_) => parsed(name, "", parse).map(Some),
    }
}

fn setting(name: &str, placeholder: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) => Ok(value),
        Err(VarError::NotPresent) => Ok(placeholder.into()),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not valid Unicode")),
    }
}

/// Reads a setting that is not secret: the error text contains its value.
fn parsed<T, E: Error>(
    name: &str,
    placeholder: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    let text = setting(name, placeholder)?;
    parse(&text).map_err(|error| {
        let cause = error
            .source()
            .map(|cause| format!(": {cause}"))
            .unwrap_or_default();
        format!("{name} is {text:?}: {error}{cause}")
    })
}

async fn on_upload(callback: VerifiedCallback) -> CallbackReply {
    let event = callback.event_of_sample();
    tracing::info!(
        path = callback.target().path(),
        // `Debug` escapes the name, which the uploader chose. A body that is not the one of the
        // sample has none.
        object = ?event.as_ref().ok().and_then(UploadEvent::object),
        size = event.as_ref().ok().and_then(UploadEvent::size),
        // Body and query are not logged: custom variables in them can be secret.
        body_len = callback.body().len(),
        request_id = callback.unauthenticated_request_id(),
        "upload confirmed"
    );
    CallbackReply::ok()
}

/// Parses the arguments `[ADDRESS [PORT]]`, which are those of the sample.
fn address(mut arguments: impl Iterator<Item = String>) -> Result<String, String> {
    let host = arguments.next().unwrap_or_else(|| "127.0.0.1".into());
    let port = arguments.next();
    if host.starts_with('-') || arguments.next().is_some() {
        return Err(format!("unexpected arguments\n{USAGE}"));
    }
    Ok(match (host.parse::<IpAddr>(), port) {
        (Ok(ip), port) => {
            let port = port.unwrap_or_else(|| "8080".into());
            let port = port
                .parse()
                .map_err(|_| format!("{port:?} is not a port number"))?;
            SocketAddr::new(ip, port).to_string()
        }
        (Err(_), Some(port)) => format!("{host}:{port}"),
        // A port in the address, as the other examples have it.
        (Err(_), None) if host.contains(':') => host,
        (Err(_), None) => format!("{host}:8080"),
    })
}
