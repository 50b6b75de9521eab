//! The settings of a service, and the tokens it issues with them.

use std::{
    error::Error as _,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
    request::Parts,
};

use super::{
    error::{TokenError, TokenErrorKind},
    format::{TokenFormat, batch},
    response::{PolicyBody, complete},
};
use crate::{
    policy::{
        authorize::{Authorize, Grants},
        callback::CallbackDirective,
        credentials::CredentialsProvider,
        error::PolicyError,
        grant::{Grant, IssueContext},
        post_policy::PolicyConfig,
        random::RandomBytes,
        requested::RequestedFiles,
        ticket_issuer::{DEFAULT_UPLOAD_TIME, TicketIssuer, prepare_callback},
    },
    protocol::TargetError,
    sign::SignatureVersion,
    ticket::{Tickets, ledger::GrantedUpload, store::StoreError},
};

/// The settings of a service.
///
/// A setter only stores its value. What depends on several of them is derived from all of them
/// afterwards, by [`derive`](Self::derive) and [`check`](Self::check), so the order of the setters
/// has no effect.
#[derive(Clone)]
pub(in crate::policy) struct Issuer {
    /// `fields` and `version` are derived.
    pub(in crate::policy) config: PolicyConfig,
    /// With tickets, `check` adds the fields that they need.
    pub(in crate::policy) callback: CallbackDirective,
    pub(in crate::policy) credentials: Arc<dyn CredentialsProvider>,
    /// `None` until a format is chosen.
    pub(super) format: Option<TokenFormat>,
    pub(super) default_format: TokenFormat,
    /// `None` until a version is chosen.
    pub(super) signature: Option<SignatureVersion>,
    pub(in crate::policy) tickets: Option<Tickets>,
    /// `None` until a time is set.
    pub(super) upload_time: Option<Duration>,
    pub(in crate::policy) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pub(in crate::policy) post_only: bool,
    /// Derived: the rule that makes a callback target ambiguous that no ticket names.
    unnamed_target: Option<TargetError>,
    warned: Arc<AtomicBool>,
    /// Renders rejections.
    pub(in crate::policy) rejection: Option<Rejection>,
}

pub(in crate::policy) type Rejection = Arc<dyn Fn(&TokenError) -> Response<Bytes> + Send + Sync>;

impl Issuer {
    pub(super) fn new(
        config: PolicyConfig,
        callback: CallbackDirective,
        credentials: impl CredentialsProvider + 'static,
        default_format: TokenFormat,
    ) -> Result<Self, PolicyError> {
        let mut issuer = Self {
            config,
            callback,
            credentials: Arc::new(credentials),
            format: None,
            default_format,
            signature: None,
            tickets: None,
            upload_time: None,
            clock: Arc::new(SystemTime::now),
            post_only: false,
            unnamed_target: None,
            warned: Arc::default(),
            rejection: None,
        };
        issuer.derive();
        issuer.check()?;
        Ok(issuer)
    }

    /// Updates the derived settings.
    pub(super) fn derive(&mut self) {
        let format = self.format();
        self.config.fields = format.field_set();
        self.config.version = format.signature_version(self.signature.unwrap_or_default());
        self.unnamed_target = match self.tickets {
            Some(_) => None,
            None => self.callback.ambiguity(),
        };
    }

    /// Checks the settings against each other.
    pub(super) fn check(&mut self) -> Result<(), PolicyError> {
        if self.tickets.is_some() {
            // Adds only fields that are missing, so repeated checks change nothing.
            self.callback = prepare_callback(self.callback.clone())?;
            if self.config.destination.bucket_name().is_none() {
                return Err(PolicyError::Bucket);
            }
        }
        if self.format.is_some() {
            self.check_signature()?;
        }
        self.config.check_region()?;
        self.config.check_variables(self.callback.variables())
    }

    /// Rejects a chosen signature version that the format does not have.
    pub(super) fn check_signature(&self) -> Result<(), PolicyError> {
        match self.signature {
            Some(chosen) if chosen != self.config.version => Err(PolicyError::Signature),
            _ => Ok(()),
        }
    }

    /// Rejects settings that have no effect, once no other setter can follow.
    pub(super) fn check_complete(&self) -> Result<(), PolicyError> {
        if self.upload_time.is_some() && self.tickets.is_none() {
            return Err(PolicyError::UploadTime);
        }
        self.check_signature()
    }

    /// Warns once of a callback that only a layer with `only_path` or an opt-in accepts.
    fn warn_of_unnamed_target(&self) {
        if let Some(rule) = &self.unnamed_target
            && !self.warned.swap(true, Relaxed)
        {
            tracing::warn!(
                %rule,
                "callbacks are issued for an ambiguous path, and without tickets nothing names it: \
                 a callback layer accepts them only if only_path names the path; write the callback \
                 URL without it, name the path with only_path, or use tickets"
            );
        }
    }

    fn upload_time(&self) -> Duration {
        self.upload_time.unwrap_or(DEFAULT_UPLOAD_TIME)
    }

    fn format(&self) -> TokenFormat {
        self.format.unwrap_or(self.default_format)
    }

    pub(super) fn check_method(&self, method: &Method) -> Result<(), TokenError> {
        let reads = [Method::GET, Method::HEAD].contains(method) && !self.post_only;
        if method == Method::POST || reads {
            Ok(())
        } else {
            Err(TokenErrorKind::MethodNotAllowed.into())
        }
    }

    /// Renders a rejection.
    pub(in crate::policy) fn reject(
        &self,
        error: TokenError,
        method: &Method,
    ) -> Response<PolicyBody> {
        let mut response = match &self.rejection {
            Some(render) => render(&error),
            None => error.to_response(),
        };
        // No client may mistake a rejection for a token.
        if !response.status().is_client_error() && !response.status().is_server_error() {
            *response.status_mut() = error.status();
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = match self.post_only {
                true => "POST",
                false => "GET, HEAD, POST",
            };
            let allowed = HeaderValue::from_static(allowed);
            response.headers_mut().entry(ALLOW).or_insert(allowed);
        }
        if let Some(time) = error.retry_after() {
            let headers = response.headers_mut();
            headers.entry(RETRY_AFTER).or_insert(time.into());
        }
        response.extensions_mut().insert(error);
        complete(response, method)
    }

    /// Returns the callback of an upload that needs no policy, with a ticket for this grant.
    pub(super) fn callback_for(&self, grant: &Grant) -> Result<CallbackDirective, PolicyError> {
        self.check_complete()?;
        let issued = grant.callback(&self.context((self.clock)()))?;
        match issued.row {
            Some(_) => Err(PolicyError::NotRecorded),
            None => Ok(issued.value),
        }
    }

    /// Returns the same callback once the ledger, if there is one, has recorded the upload.
    pub(super) async fn recorded_callback_for(
        &self,
        grant: &Grant,
    ) -> Result<CallbackDirective, PolicyError> {
        self.check_complete()?;
        let issued = grant.callback(&self.context((self.clock)()))?;
        let recorded = self.record(issued.row.as_slice()).await;
        recorded.map_err(|error| PolicyError::Ledger(error.kind()))?;
        Ok(issued.value)
    }

    /// Records granted uploads in the ledger, if there is one. Must complete before what was issued
    /// for them is sent.
    pub(in crate::policy) async fn record(&self, rows: &[GrantedUpload]) -> Result<(), StoreError> {
        let ledger = self.tickets.as_ref().and_then(Tickets::ledger);
        let (Some(ledger), [_, ..]) = (ledger, rows) else {
            return Ok(());
        };
        let Err(error) = ledger.granted(rows).await else {
            return Ok(());
        };
        let cause = error.source().map(ToString::to_string);
        let unrecovered = self
            .tickets
            .as_ref()
            .is_some_and(Tickets::issues_unrecorded);
        tracing::error!(
            %error,
            cause,
            uploads = rows.len(),
            unrecovered,
            "the ledger could not record granted uploads"
        );
        if unrecovered { Ok(()) } else { Err(error) }
    }

    /// Asks for a grant, and returns the signed tokens as the body of the response.
    pub(in crate::policy) async fn issue(
        &self,
        authorize: &impl Authorize,
        parts: &Parts,
        requested: &RequestedFiles,
    ) -> Result<Bytes, TokenError> {
        let granted = authorize.authorize(parts).await;
        let grants: Grants = granted?.into();
        let files = requested.files();
        if requested.is_batch() {
            // One token for a prefix serves any number of files, so the other formats have no
            // batch.
            if self.format() != TokenFormat::Fields {
                return Err(TokenErrorKind::BatchNotSupported.into());
            }
            if grants.one().is_some_and(Grant::is_exact) {
                return Err(TokenErrorKind::BatchUnderExactKey.into());
            }
        }
        match grants.one() {
            Some(grant) if !grant.serves(files.len()) => {
                return Err(TokenErrorKind::TooManyFiles.into());
            }
            None if grants.as_slice().len() != files.len() => {
                return Err(TokenError::grant_count(
                    grants.as_slice().len(),
                    files.len(),
                ));
            }
            _ => {}
        }
        self.check_complete()?;
        self.warn_of_unnamed_target();
        let credentials = self.credentials.credentials().await;
        let credentials = credentials.map_err(TokenError::credentials)?;
        // Read after every wait, so that the lifetime starts when the token is signed.
        let at = (self.clock)();
        // A provider may return expired credentials; that is a 503 whatever the grant contains.
        if credentials.expires_at().is_some_and(|end| end <= at) {
            return Err(PolicyError::CredentialsExpired.into());
        }
        // Every grant is checked before the first token is signed.
        for grant in grants.as_slice() {
            grant.check(self.config.fields)?;
        }
        let context = self.context(at);
        let mut random = RandomBytes::for_tokens(files.len());
        // One grant is for all files, several are for one each.
        let (mut tokens, mut rows) = (Vec::with_capacity(files.len()), Vec::new());
        for (file, grant) in files.iter().zip(grants.as_slice().iter().cycle()) {
            let issued = grant.sign(&context, file, &credentials, &mut random)?;
            tokens.push(issued.value);
            rows.extend(issued.row);
        }
        // The response to `HEAD` contains no token.
        if parts.method != Method::HEAD {
            self.record(&rows).await.map_err(TokenError::ledger)?;
        }
        Ok(match &*tokens {
            [token] if !requested.is_batch() => self.format().token(token),
            tokens => batch(tokens),
        })
    }

    pub(in crate::policy) fn context(&self, at: SystemTime) -> IssueContext<'_> {
        IssueContext {
            config: &self.config,
            callback: &self.callback,
            tickets: self.ticket_issuer(),
            at,
        }
    }

    /// Returns `None` without tickets.
    pub(in crate::policy) fn ticket_issuer(&self) -> Option<TicketIssuer<'_>> {
        self.tickets.as_ref().map(|tickets| TicketIssuer {
            keys: tickets.keys(),
            upload_time: self.upload_time(),
            recorded: tickets.ledger().is_some(),
        })
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("config", &self.config)
            .field("callback", &self.callback)
            .field("format", &self.format())
            .field("tickets", &self.tickets)
            .field("upload_time", &self.upload_time())
            .field("post_only", &self.post_only)
            .finish_non_exhaustive()
    }
}
