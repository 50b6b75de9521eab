//! The settings of a layer, shared by all its services.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_LENGTH},
};
use http_body_util::Full;

use super::{body::ResponseBody, error::CallbackError, report::Reporter, rules::Rules};
use crate::key::{KeySource, PinnedKeys};

type Rejection = Arc<dyn Fn(&CallbackError) -> Response<Bytes> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Config {
    pub(super) rules: Rules,
    pub(super) key_source: Arc<dyn KeySource>,
    pub(super) body_deadline: Duration,
    pub(super) deadline: Duration,
    pub(super) rejection: Option<Rejection>,
    pub(super) reporter: Reporter,
}

impl Config {
    /// OSS gives a callback 5 s from beginning to end, and the handler needs some of it.
    const BODY_DEADLINE: Duration = Duration::from_secs(3);
    const DEADLINE: Duration = Duration::from_secs(4);

    pub(super) fn new() -> Self {
        Self {
            rules: Rules::new(),
            key_source: Arc::new(PinnedKeys::official()),
            body_deadline: Self::BODY_DEADLINE,
            deadline: Self::DEADLINE,
            rejection: None,
            reporter: Reporter::default(),
        }
    }

    pub(super) fn reject<B>(&self, error: CallbackError) -> Response<ResponseBody<B>> {
        let mut response = match &self.rejection {
            Some(render) => render(&error),
            None => error.to_response(),
        };
        // OSS takes 200 for success and hides what else a body says, so a rejection is never a success; and a status
        // below that is no final answer.
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            *response.status_mut() = error.status();
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response
                .headers_mut()
                .entry(ALLOW)
                .or_insert(HeaderValue::from_static("POST"));
        }
        // OSS wants to know the length beforehand.
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        response.extensions_mut().insert(error);
        response.map(|bytes| ResponseBody::whole(Full::new(bytes)))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("rules", &self.rules)
            .field("keys", self.key_source.table())
            .field("body_deadline", &self.body_deadline)
            .field("deadline", &self.deadline)
            .field(
                "rejection",
                &self.rejection.as_ref().map(|_| format_args!("<fn>")),
            )
            .finish_non_exhaustive()
    }
}
