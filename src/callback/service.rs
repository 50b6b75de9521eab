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
    body::{CallbackBody, ResponseBody},
    config::Config,
    future::ResponseFuture,
    verified::VerifiedCallback,
    verifier::Preflight,
};

/// The service that [`OssCallbackLayer`](super::OssCallbackLayer) makes.
///
/// The inner service is the very instance that was polled ready, and it is ready while the body of a request that may
/// turn out to be no callback is still arriving: put a `ConcurrencyLimit` outside rather than inside.
#[derive(Clone, Debug)]
pub struct OssCallback<S> {
    inner: S,
    config: Arc<Config>,
}

impl<S> OssCallback<S> {
    pub(super) fn new(inner: S, config: Arc<Config>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, to change it.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the inner service back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for OssCallback<S>
where
    S: Service<Request<CallbackBody<ReqBody>>, Response = Response<ResBody>> + Clone,
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
        let (mut parts, body) = request.into_parts();
        // Only this layer says what is verified, whatever a server or a layer outside has put there.
        parts.extensions.remove::<VerifiedCallback>();
        if !self.config.rules.apply_to(&parts) {
            let request = Request::from_parts(parts, CallbackBody::untouched(body));
            return ResponseFuture::untouched(self.inner.call(request));
        }
        match Preflight::check(&parts, &self.config.rules) {
            Ok(preflight) => {
                // The instance that was polled ready goes along, a fresh clone stays: see the section on cloning
                // inner services in the docs of tower::Service.
                let clone = self.inner.clone();
                let inner = mem::replace(&mut self.inner, clone);
                ResponseFuture::verifying(Arc::clone(&self.config), inner, parts, body, preflight)
            }
            Err(error) => {
                self.config.reporter.rejection(&error, None);
                ResponseFuture::rejected(Arc::clone(&self.config), error)
            }
        }
    }
}
