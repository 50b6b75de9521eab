//! The extractor and the response for axum.

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
                "a request that OssCallbackLayer did not verify reached a handler that takes a \
                 VerifiedCallback: is the layer on this route? if it has only_path, does that equal \
                 this path byte for byte?"
            );
            NotVerified(())
        })
    }
}

/// Rejection of the [`VerifiedCallback`] extractor: [`OssCallbackLayer`](super::OssCallbackLayer)
/// did not verify the request. The response is 500 with a constant text, and an error in the log
/// names what to check.
#[derive(Debug)]
pub struct NotVerified(());

impl IntoResponse for NotVerified {
    fn into_response(self) -> Response {
        const BODY: &str =
            r#"{"code":"NotVerified","message":"the request is not a verified callback"}"#;
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
