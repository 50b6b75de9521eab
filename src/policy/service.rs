//! The service that hands out tokens.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tower_service::Service;

use super::{
    builder::{DEFAULT_LIFETIME, MAX_LIFETIME, MIN_LIFETIME},
    credentials::Credentials,
    directive::CallbackDirective,
    error::PolicyError,
    token::Issue,
};
use crate::protocol::{ObjectPrefix, SizeRange, UploadUrl};

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// Answers `GET` (and `HEAD`) with a token that lets the client upload to OSS by itself.
///
/// The answer is the JSON of Alibaba's sample application servers, signed with signature version 1:
/// `accessid, host, policy, signature, expire, dir, callback`. The policy holds the client to the prefix, the size and
/// the callback. It is never cached (`Cache-Control: no-store`).
///
/// ```
/// use std::time::Duration;
/// use tower_aliyun_oss::policy::{CallbackDirective, Credentials, OssPolicyService};
///
/// let tokens = OssPolicyService::public_demo(
///     Credentials::new("LTAI5tExample", "secret")?,
///     "http://bucket-name.oss-cn-hangzhou.aliyuncs.com".parse()?,
///     "user-dir-prefix/".parse()?,
///     CallbackDirective::new("http://88.88.88.88:8888")?,
/// )
/// .lifetime(Duration::from_secs(30))?;
/// # let _ = tokens;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OssPolicyService {
    issue: Arc<Issue>,
    clock: Clock,
}

impl OssPolicyService {
    /// Gives a token to **everybody who asks**, as the sample servers do.
    ///
    /// Whoever reaches the route can upload anything under the prefix, again and again, at your expense. Put your own
    /// session check in front of it, or keep it to demonstrations.
    #[must_use]
    pub fn public_demo(
        credentials: Credentials,
        host: UploadUrl,
        prefix: ObjectPrefix,
        callback: CallbackDirective,
    ) -> Self {
        #[expect(
            clippy::expect_used,
            reason = "both numbers are constants in the right order"
        )]
        let size = SizeRange::new(0, 1_048_576_000).expect("a constant range");
        let lifetime = DEFAULT_LIFETIME;
        let issue = Issue {
            credentials,
            host,
            prefix,
            callback,
            size,
            lifetime,
        };
        Self {
            issue: Arc::new(issue),
            clock: Arc::new(SystemTime::now),
        }
    }

    /// How long a token can be used; 15 minutes by default.
    ///
    /// # Errors
    ///
    /// When it is under a second or over seven days.
    pub fn lifetime(mut self, lifetime: Duration) -> Result<Self, PolicyError> {
        if !(MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) {
            return Err(PolicyError::Lifetime);
        }
        Arc::make_mut(&mut self.issue).lifetime = lifetime;
        Ok(self)
    }

    /// The sizes an upload may have; up to 1,048,576,000 bytes by default, as in the samples.
    #[must_use]
    pub fn size(mut self, size: SizeRange) -> Self {
        Arc::make_mut(&mut self.issue).size = size;
        self
    }

    /// Reads the time from here instead of from the system.
    #[must_use]
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn answer(&self, method: &Method) -> Response<PolicyBody> {
        if method != Method::GET && method != Method::HEAD {
            let body = r#"{"code":"MethodNotAllowed","message":"a token is asked for with get"}"#;
            let mut response = json(
                StatusCode::METHOD_NOT_ALLOWED,
                Bytes::from_static(body.as_bytes()),
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        let mut response = match self.issue.token((self.clock)()) {
            Ok(token) => json(StatusCode::OK, token.into()),
            Err(error) => {
                tracing::error!(%error, "no token could be issued");
                let body = r#"{"code":"PolicyUnavailable","message":"no token can be issued now"}"#;
                json(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    Bytes::from_static(body.as_bytes()),
                )
            }
        };
        if method == Method::HEAD {
            *response.body_mut() = PolicyBody::default();
        }
        response
    }
}

impl fmt::Debug for OssPolicyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssPolicyService")
            .field("issue", &self.issue)
            .finish_non_exhaustive()
    }
}

/// The body of the request is not read.
impl<B> Service<Request<B>> for OssPolicyService
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<PolicyBody>;
    type Error = Infallible;
    type Future = PolicyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> PolicyFuture {
        PolicyFuture(ready(self.answer(request.method())))
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<PolicyBody> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(PolicyBody(Full::new(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    // A token is a bearer credential (RFC 6749 section 5.1 asks the same of its tokens).
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The future of [`OssPolicyService`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct PolicyFuture(Ready<Response<PolicyBody>>);

impl Future for PolicyFuture {
    type Output = Result<Response<PolicyBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

/// The body of an [`OssPolicyService`]'s answer.
#[derive(Clone, Debug, Default)]
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
