//! What receives the requests: `/_emulator/` for the console, everything else for the emulator.

use std::{net::SocketAddr, sync::Arc};

use http::{Request, Response, Uri, request::Parts, uri};
use hyper::body::Incoming;
use tower_service::Service as _;

use super::{
    console::{Console, denied},
    guard::{Guard, authority, sandbox},
};
use crate::{address::Address, body::EmulatorBody, context::ClientAddress, service::Emulator};

/// The path of the console.
const ROOT: &str = "/_emulator";

pub(super) struct Front {
    pub(super) emulator: Emulator,
    pub(super) console: Console,
    pub(super) guard: Guard,
}

impl Front {
    /// Responds to a request on a connection from `client` that arrived at `local`.
    pub(super) async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: SocketAddr,
        local: SocketAddr,
    ) -> Response<EmulatorBody> {
        let (mut parts, body) = request.into_parts();
        if self.is_for_console(&parts) {
            return match self.guard.check(&parts, local.ip()) {
                Ok(()) => self.console.respond(&parts).await,
                Err(reason) => {
                    tracing::warn!(%client, "a request to /_emulator/ was refused: {}", reason.message());
                    denied(reason)
                }
            };
        }
        parts.extensions.insert(ClientAddress(client));
        if authority(&parts).is_some_and(|authority| self.guard.is_https(authority)) {
            make_https(&mut parts);
        }
        let request = Request::from_parts(parts, body);
        let Ok(mut response) = self.emulator.clone().call(request).await;
        sandbox(response.headers_mut());
        response
    }

    fn is_for_console(&self, parts: &Parts) -> bool {
        let path = parts.uri.path();
        let inside = path.strip_prefix(ROOT);
        let inside = inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // In a host of a bucket, the path is that of an object. Elsewhere it names a bucket, and no
        // bucket is called `_emulator`.
        inside && Address::of(parts, &self.emulator.0.domains).path_style
    }
}

/// Makes the target absolute, so that the `Location` of responses has the scheme of the client.
fn make_https(parts: &mut Parts) {
    let authority = authority(parts).and_then(|authority| authority.parse().ok());
    let mut target = uri::Parts::default();
    target.scheme = Some(uri::Scheme::HTTPS);
    target.authority = authority;
    target.path_and_query = parts.uri.path_and_query().cloned();
    // Fails if the `Host` is not one that an absolute target can have.
    if let Ok(target) = Uri::from_parts(target) {
        parts.uri = target;
    }
}
