//! One request of a client, and its answer.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response, request::Parts};

use super::{
    PresignFormat,
    answer::SignedRequest,
    ask::{Ask, Step},
    client::Client,
    companion::{self, Endpoint},
    handle::Upload,
    plan::Divider,
    presigner::{NewUpload, Presigner},
    signing::Signing,
};
use crate::{
    metrics::UNKNOWN_ACTION,
    policy::{
        authorize::Authorize,
        service::{PolicyBody, TokenError, TokenErrorKind, check_json, token_response},
    },
};

/// Maximum length of a request body in bytes.
const MAX_BODY_LEN: usize = 64 * 1024;

/// What a request is for.
pub(super) enum Route {
    /// An ask in the format of the service.
    Ask,
    /// An endpoint of Companion.
    Companion(Endpoint),
}

impl Route {
    /// Checks the head of a request, before a byte of the body is read.
    pub(super) fn of(presigner: &Presigner, parts: &Parts) -> Result<Self, TokenError> {
        let route = match companion::path(parts.uri.path()) {
            Some(path) if presigner.storage.is_some() => {
                Self::Companion(Endpoint::of(&parts.method, path)?)
            }
            _ if parts.method != Method::POST => {
                return Err(TokenErrorKind::MethodNotAllowed.into());
            }
            _ => Self::Ask,
        };
        if route.body_limit().is_some() {
            check_json(&parts.headers)?;
        } else if matches!(route, Self::Companion(Endpoint::Params)) {
            companion::check_site(&parts.headers)?;
        }
        Ok(route)
    }

    /// Returns the name of the action in the metrics, if the head names it.
    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::Ask => UNKNOWN_ACTION,
            Self::Companion(endpoint) => endpoint.action(),
        }
    }

    /// Returns the longest body, or `None` if the body is not read.
    pub(super) fn body_limit(&self) -> Option<usize> {
        match self {
            Self::Ask => Some(MAX_BODY_LEN),
            Self::Companion(endpoint) => endpoint.body_limit(),
        }
    }
}

/// A request without its body, and what answers it.
pub(super) struct Exchange<A> {
    client: Client<A>,
    route: Route,
}

impl<A: Authorize> Exchange<A> {
    pub(super) fn new(
        authorize: Arc<A>,
        presigner: &Arc<Presigner>,
        parts: Parts,
        route: Route,
    ) -> Self {
        let client = Client {
            authorize,
            presigner: Arc::clone(presigner),
            parts,
        };
        Self { client, route }
    }

    /// Returns the name of the action in the metrics, as far as it is known without the body.
    pub(super) fn action(&self) -> &'static str {
        self.route.action()
    }

    pub(super) fn reject(&self, error: TokenError) -> Response<PolicyBody> {
        self.client.reject(error)
    }

    /// Returns the answer, and the name of the action in the metrics.
    pub(super) async fn answer(mut self, body: Bytes) -> (Response<PolicyBody>, &'static str) {
        let mut action = self.action();
        let answer = match &self.route {
            Route::Ask => self.ask(&body, &mut action).await.map(Bytes::from),
            Route::Companion(endpoint) => {
                let endpoint = endpoint.clone();
                companion::answer(&mut self.client, &endpoint, &body).await
            }
        };
        let response = match answer {
            Ok(json) => token_response(json, &self.client.parts.method),
            Err(error) => self.reject(error),
        };
        (response, action)
    }

    async fn ask(&mut self, body: &[u8], action: &mut &'static str) -> Result<String, TokenError> {
        match self.client.presigner.format {
            PresignFormat::Json => {
                let ask = Ask::from_json(body)?;
                *action = ask.action();
                self.json(ask).await
            }
            PresignFormat::SignRequest => {
                let (ask, wanted) = Ask::from_sign_request(body)?;
                *action = ask.action();
                self.sign_request(ask, wanted).await
            }
        }
    }

    async fn json(&mut self, ask: Ask<'_>) -> Result<String, TokenError> {
        match ask {
            Ask::Create(file) | Ask::CreateAndPut(file) => {
                let (NewUpload { upload, handle, .. }, signing) =
                    self.client.create(file, Divider::Service).await?;
                Ok(signing.initiate(&upload)?.created_json(&upload, &handle))
            }
            Ask::Download(requested) => Ok(self.client.download(requested).await?.json()),
            Ask::Continue { handle, step } => {
                let upload = self.client.presigner.open(&handle)?;
                let signing = Signing::new(&self.client.presigner).await?;
                match step {
                    Step::Parts(id, numbers) => signing.parts_json(&upload, &id, &numbers),
                    step => Ok(sign_step(&signing, &upload, step)?.json()),
                }
            }
        }
    }

    async fn sign_request(
        &mut self,
        ask: Ask<'_>,
        wanted: Option<u32>,
    ) -> Result<String, TokenError> {
        match ask {
            Ask::Create(file) => {
                let (NewUpload { upload, handle, .. }, mut signing) =
                    self.client.create(file, Divider::Client).await?;
                signing.wanted = wanted;
                // uppy sends the handle as the key from now on, and keeps it for a resumption.
                Ok(signing.initiate(&upload)?.uppy_json(Some(&handle)))
            }
            Ask::CreateAndPut(file) => {
                let (NewUpload { upload, .. }, mut signing) =
                    self.client.create(file, Divider::Service).await?;
                signing.wanted = wanted;
                let key = upload.key.as_str();
                Ok(signing.put(&upload)?.uppy_json(Some(key)))
            }
            Ask::Continue { handle, step } => {
                let upload = self.client.presigner.open(&handle)?;
                let mut signing = Signing::new(&self.client.presigner).await?;
                signing.wanted = wanted;
                Ok(sign_step(&signing, &upload, step)?.uppy_json(None))
            }
            // The format has no downloads.
            Ask::Download(_) => Err(TokenErrorKind::NotGranted.into()),
        }
    }
}

fn sign_step(
    signing: &Signing<'_>,
    upload: &Upload,
    step: Step<'_>,
) -> Result<SignedRequest, TokenError> {
    match step {
        Step::Parts(id, numbers) => {
            // The formats that end here name one part.
            let number = numbers.first().copied();
            signing.part(upload, &id, number.unwrap_or_default())
        }
        Step::List(id, marker) => signing.list(upload, &id, marker),
        Step::Complete(id) => signing.complete(upload, &id),
        Step::Abort(id) => signing.abort(upload, &id),
        Step::Put => signing.put(upload),
    }
}
