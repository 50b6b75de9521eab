//! The extractors and the response for axum.

use std::sync::Arc;

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

use super::{log::Log, reply::CallbackReply, verified::VerifiedCallback};
use crate::storage::ObjectMetadata;

impl<S: Sync> FromRequestParts<S> for VerifiedCallback {
    type Rejection = NotVerified;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotVerified> {
        parts.extensions.get().cloned().ok_or_else(|| {
            Log::not_verified();
            NotVerified(Missing::Verification)
        })
    }
}

/// A callback whose upload is [confirmed](super::OssCallbackLayer::confirm): the object exists, and
/// is as the callback reports it.
///
/// An extractor for handlers that must not run without the confirmation. If the layer does not
/// confirm, the request is rejected with 500, and an error in the log names what to do.
///
/// ```
/// use axum::{Router, routing::post};
/// use tower_aliyun_oss::{OssUploads, callback::{CallbackReply, ConfirmedUpload}};
///
/// async fn on_upload(upload: ConfirmedUpload) -> CallbackReply {
///     println!("{} bytes, {:?}", upload.metadata().size(), upload.callback().event());
///     CallbackReply::ok()
/// }
///
/// // `uploads` was built with `confirm`.
/// fn routes(uploads: &OssUploads) -> Router {
///     Router::new().route("/oss/callback", post(on_upload).route_layer(uploads.callback_layer()))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ConfirmedUpload {
    callback: VerifiedCallback,
    metadata: Arc<ObjectMetadata>,
}

impl ConfirmedUpload {
    /// Returns what OSS itself reports about the object.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMetadata {
        &self.metadata
    }

    /// Returns the callback.
    #[must_use]
    pub fn callback(&self) -> &VerifiedCallback {
        &self.callback
    }
}

impl<S: Sync> FromRequestParts<S> for ConfirmedUpload {
    type Rejection = NotVerified;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, NotVerified> {
        let callback = VerifiedCallback::from_request_parts(parts, state).await?;
        match &callback.confirmed {
            Some(metadata) => Ok(Self {
                metadata: Arc::clone(metadata),
                callback,
            }),
            None => {
                tracing::error!(
                    "a callback that was not confirmed reached a handler that takes a \
                     ConfirmedUpload: is confirm called on the layer or on the builder of the \
                     uploads? was the callback accepted without a ticket?"
                );
                Err(NotVerified(Missing::Confirmation))
            }
        }
    }
}

/// Rejection of the extractors: [`OssCallbackLayer`](super::OssCallbackLayer) did not verify the
/// request, or did not confirm the upload. The response is 500 with a constant text, and an error
/// in the log names what to check.
#[derive(Debug)]
pub struct NotVerified(Missing);

#[derive(Clone, Copy, Debug)]
enum Missing {
    Verification,
    Confirmation,
}

impl IntoResponse for NotVerified {
    fn into_response(self) -> Response {
        let body = match self.0 {
            Missing::Verification => {
                r#"{"code":"NotVerified","message":"the request is not a verified callback"}"#
            }
            Missing::Confirmation => {
                r#"{"code":"NotConfirmed","message":"the upload is not confirmed"}"#
            }
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        response
    }
}

impl IntoResponse for CallbackReply {
    fn into_response(self) -> Response {
        self.into()
    }
}
