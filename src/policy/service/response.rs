//! Responses of the service: their body and their headers.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response,
    header::{
        CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

/// Not a constant of `http`. Source: the Fetch standard, section "Cross-Origin-Resource-Policy
/// header".
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Response body of [`OssPolicyService`](super::OssPolicyService).
#[derive(Clone, Default)]
pub struct PolicyBody(Full<Bytes>);

impl Body for PolicyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for PolicyBody {
    /// Omits the token, which is a bearer credential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyBody").finish_non_exhaustive()
    }
}

/// Creates the response with a token.
pub(in crate::policy) fn token_response(body: Bytes, method: &Method) -> Response<PolicyBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    complete(response, method)
}

/// Sets the length and the headers that every response of the service has. The response to `HEAD`
/// has the headers only.
pub(super) fn complete(response: Response<Bytes>, method: &Method) -> Response<PolicyBody> {
    let (mut head, body) = response.into_parts();
    let headers = &mut head.headers;
    // `HEAD` announces the length of the body that `GET` would return (RFC 9110 section 9.3.2).
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.remove(TRANSFER_ENCODING);
    // A token is a bearer credential; RFC 6749 section 5.1 requires the same for access tokens.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // No page of another origin may embed a token, for example as a script. Browsers check this
    // only for requests without CORS, so a `CorsLayer` around the service decides as before.
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, same_origin);
    let body = if method == Method::HEAD {
        Bytes::new()
    } else {
        body
    };
    Response::from_parts(head, PolicyBody(Full::new(body)))
}

/// Adds all values of the headers that the service does not set itself.
pub(super) fn add_headers(headers: &mut HeaderMap, more: &HeaderMap) {
    for name in more.keys().filter(|name| !is_own(name)) {
        for value in more.get_all(name) {
            headers.append(name, value.clone());
        }
    }
}

/// Returns whether the header describes the body, or limits who may store or read it.
fn is_own(name: &HeaderName) -> bool {
    [
        CONTENT_TYPE,
        CONTENT_LENGTH,
        CACHE_CONTROL,
        X_CONTENT_TYPE_OPTIONS,
        CROSS_ORIGIN_RESOURCE_POLICY,
        TRANSFER_ENCODING,
    ]
    .contains(name)
}
