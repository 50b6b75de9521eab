//! The service.

use std::{
    error::Error,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    body::{RequestBody, ResponseBody},
    config::Config,
    error::CallbackErrorKind,
    future::ResponseFuture,
    recovered::RecoveredUpload,
    verified::VerifiedCallback,
    verifier::{CallbackVerifier, Content, Proof},
};
use crate::metrics::Span;

/// Service created by [`OssCallbackLayer`](super::OssCallbackLayer).
///
/// It calls the instance of the inner service that was polled ready. That instance stays reserved
/// while the body arrives, although the request may turn out not to be a callback: put a
/// `ConcurrencyLimit` outside rather than inside of the layer.
#[derive(Clone, Debug)]
pub struct OssCallback<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> OssCallback<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Consumes `self` and returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for OssCallback<S>
where
    S: Service<Request<RequestBody<ReqBody>>, Response = Response<ResBody>> + Clone,
    ReqBody: Body,
    ReqBody::Error: Into<Box<dyn Error + Send + Sync>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let config = Arc::clone(&self.config);
        let (mut parts, body) = request.into_parts();
        // Only this layer may mark a request as verified. An outer layer may have copied the
        // extensions of a verified request to this one.
        parts.extensions.remove::<VerifiedCallback>();
        if !config.verifier.apply_to(&parts) {
            let request = Request::from_parts(parts, RequestBody::untouched(body));
            return ResponseFuture::untouched(config, self.inner.call(request));
        }
        // Taken, so that a handler cannot pass it on.
        let recovered = parts.extensions.remove::<RecoveredUpload>();
        let span = Span::of_callback(&parts.headers, recovered.is_some());
        let meter = config
            .metrics
            .begin(CallbackErrorKind::NAMES, recovered.is_some());
        let measured = (meter, span);
        let checked = match recovered {
            Some(upload) => Content::check_recovered(&mut parts, &config.verifier)
                .map(|content| (content, Proof::Recovery(upload))),
            None => CallbackVerifier::check_rewriting(&mut parts, &config.verifier)
                .map(CallbackVerifier::into_parts),
        };
        match checked {
            Ok((content, proof)) => {
                // The future takes the instance that was polled ready and leaves a fresh clone: see
                // "Be careful when cloning inner services" in the docs of `tower::Service`.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                ResponseFuture::reading(config, inner, parts, body, content, proof, measured)
            }
            Err(error) => ResponseFuture::rejected(config, error, measured),
        }
    }
}
