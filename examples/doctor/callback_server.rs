//! Receives callbacks, and keeps them as they arrived.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{Router, body::to_bytes, extract::Request, response::Response, routing::any};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use tokio::{net::TcpListener, task::AbortHandle};
use tower_aliyun_oss::{
    Lookup,
    callback::{CallbackReply, CallbackVerifier, VerifierConfig},
    key::{KeySource as _, PinnedKeys},
    protocol::header::X_OSS_PUB_KEY_URL,
};

/// The longest body that is kept. OSS sends at most a few kibibytes.
const MAX_BODY: usize = 64 * 1024;

/// A callback as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Why the signature is not right.
    pub(crate) rejected: Option<String>,
}

impl Received {
    /// Returns whether the request has the headers of a callback, whatever they contain.
    pub(crate) fn is_signed(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION) && self.headers.contains_key(X_OSS_PUB_KEY_URL)
    }
}

/// A server for callbacks. It stops when it is dropped.
pub(crate) struct CallbackServer {
    address: SocketAddr,
    url: String,
    received: Arc<Mutex<Vec<Received>>>,
    task: AbortHandle,
}

impl CallbackServer {
    /// Starts to serve. Callbacks are verified with `keys`. Without a URL, an OSS on this machine
    /// can call.
    pub(crate) fn start(
        listener: TcpListener,
        url: Option<String>,
        keys: PinnedKeys,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let url = url.unwrap_or_else(|| format!("http://{address}/oss/callback"));
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        let app = Router::new().fallback(any(move |request| {
            receive(request, keys.clone(), Arc::clone(&kept))
        }));
        let task = tokio::spawn(async move {
            // It ends with the process.
            let _ended = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            url,
            received,
            task: task.abort_handle(),
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL under which OSS reaches this server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Takes what arrived since the last call. OSS answers an upload after its callback.
    pub(crate) fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for CallbackServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(request: Request, keys: PinnedKeys, kept: Arc<Mutex<Vec<Received>>>) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let rejected = verify(&parts, body.clone(), &keys).err();
    let is_rejected = rejected.is_some();
    let received = Received {
        target: parts.uri.to_string(),
        headers: parts.headers,
        body,
        rejected,
    };
    kept.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(received);
    if is_rejected {
        status(StatusCode::BAD_REQUEST)
    } else {
        CallbackReply::ok().into()
    }
}

fn status(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn verify(parts: &http::request::Parts, body: Bytes, keys: &PinnedKeys) -> Result<(), String> {
    let mut verifier = CallbackVerifier::check(parts, &VerifierConfig::new())
        .map_err(|error| error.to_string())?;
    verifier.update(body).map_err(|error| error.to_string())?;
    let Lookup::Ready(key) = keys.key(verifier.key_url()) else {
        return Err("the key is not in memory".into());
    };
    let key = key.map_err(|error| error.to_string())?;
    verifier.verify(&key).map_err(|error| error.to_string())?;
    Ok(())
}
