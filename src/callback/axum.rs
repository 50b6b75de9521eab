//! The extractor and the response of axum.

use axum::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};

use super::{reply::CallbackReply, verified::VerifiedCallback};

impl<S: Sync> FromRequestParts<S> for VerifiedCallback {
    type Rejection = NotVerified;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotVerified> {
        parts.extensions.get().cloned().ok_or_else(|| {
            tracing::error!(
                "a handler that takes a VerifiedCallback was reached by a request that OssCallbackLayer has not \
                 verified: is the layer on this route? if it has only_path, is this its path, to the letter?"
            );
            NotVerified(())
        })
    }
}

/// The rejection of the [`VerifiedCallback`] extractor: the request has not been through
/// [`OssCallbackLayer`](super::OssCallbackLayer). Answered with 500 and a constant text; the log says what to check.
#[derive(Debug)]
pub struct NotVerified(());

impl IntoResponse for NotVerified {
    fn into_response(self) -> Response {
        const BODY: &str =
            r#"{"code":"NotVerified","message":"the request has not been verified as a callback"}"#;
        let mut response = Response::new(Body::from(BODY));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(BODY.len()));
        response
    }
}

impl IntoResponse for CallbackReply {
    fn into_response(self) -> Response {
        self.into()
    }
}
