//! The settings of a service, and the tokens it issues with them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Method, request::Parts};

use super::{
    format::{TokenFormat, batch},
    response::TokenError,
};
use crate::{
    policy::{
        authorize::{Authorize, Grants},
        callback::CallbackDirective,
        credentials::CredentialsProvider,
        error::PolicyError,
        grant::{Grant, IssueContext},
        post_policy::PolicyConfig,
        requested::RequestedFiles,
        ticket_issuer::{DEFAULT_UPLOAD_TIME, TicketIssuer, prepare_callback},
    },
    sign::SignatureVersion,
    ticket::Tickets,
};

/// The settings of a service.
///
/// A setter only stores its value. What depends on several of them is derived from all of them
/// afterwards, by [`derive`](Self::derive) and [`check`](Self::check), so the order of the setters
/// has no effect.
#[derive(Clone)]
pub(super) struct Issuer {
    /// `fields` and `version` are derived.
    pub(super) config: PolicyConfig,
    /// With tickets, `check` adds the fields that they need.
    pub(super) callback: CallbackDirective,
    pub(super) credentials: Arc<dyn CredentialsProvider>,
    /// `None` until a format is chosen.
    pub(super) format: Option<TokenFormat>,
    pub(super) default_format: TokenFormat,
    /// For formats that permit a choice.
    pub(super) signature: SignatureVersion,
    pub(super) tickets: Option<Tickets>,
    pub(super) upload_time: Duration,
    pub(super) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pub(super) post_only: bool,
}

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
            signature: SignatureVersion::V4,
            tickets: None,
            upload_time: DEFAULT_UPLOAD_TIME,
            clock: Arc::new(SystemTime::now),
            post_only: false,
        };
        issuer.derive();
        issuer.check()?;
        Ok(issuer)
    }

    /// Updates the derived settings.
    pub(super) fn derive(&mut self) {
        let format = self.format();
        self.config.fields = format.field_set();
        self.config.version = format.signature_version(self.signature);
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
        self.config.check_region()?;
        self.config.check_variables(self.callback.variables())
    }

    fn format(&self) -> TokenFormat {
        self.format.unwrap_or(self.default_format)
    }

    pub(super) fn check_method(&self, method: &Method) -> Result<(), TokenError> {
        let reads = [Method::GET, Method::HEAD].contains(method) && !self.post_only;
        if method == Method::POST || reads {
            Ok(())
        } else if self.post_only {
            Err(TokenError::Method("POST"))
        } else {
            Err(TokenError::Method("GET, HEAD, POST"))
        }
    }

    /// Returns the callback of an upload that needs no policy, with a ticket for this grant.
    pub(super) fn callback_for(&self, grant: &Grant) -> Result<CallbackDirective, PolicyError> {
        grant.callback(&self.context((self.clock)()))
    }

    /// Asks for a grant, and returns the signed tokens as the body of the response.
    pub(super) async fn issue(
        &self,
        authorize: &impl Authorize,
        parts: &Parts,
        requested: &RequestedFiles,
    ) -> Result<Bytes, TokenError> {
        let granted = authorize.authorize(parts).await;
        let grants: Grants = granted.map_err(TokenError::Refused)?.into();
        let files = requested.files();
        if requested.is_batch() {
            // One token for a prefix serves any number of files, so the other formats have no
            // batch.
            if self.format() != TokenFormat::Fields {
                return Err(TokenError::BatchInFormat);
            }
            if grants.one().is_some_and(Grant::is_exact) {
                return Err(TokenError::BatchUnderExactKey);
            }
        }
        match grants.one() {
            Some(grant) if !grant.serves(files.len()) => return Err(TokenError::TooManyFiles),
            None if grants.as_slice().len() != files.len() => {
                return Err(TokenError::grant_count(
                    grants.as_slice().len(),
                    files.len(),
                ));
            }
            _ => {}
        }
        let credentials = self.credentials.credentials().await;
        let credentials = credentials.map_err(|error| TokenError::credentials(&error))?;
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
        // One grant is for all files, several are for one each.
        let tokens = files
            .iter()
            .zip(grants.as_slice().iter().cycle())
            .map(|(file, grant)| grant.sign(&context, file, &credentials))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(match &*tokens {
            [token] if !requested.is_batch() => self.format().token(token),
            tokens => batch(tokens),
        })
    }

    fn context(&self, at: SystemTime) -> IssueContext<'_> {
        let tickets = self.tickets.as_ref().map(|tickets| TicketIssuer {
            keys: tickets.keys(),
            upload_time: self.upload_time,
        });
        IssueContext {
            config: &self.config,
            callback: &self.callback,
            tickets,
            at,
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("config", &self.config)
            .field("callback", &self.callback)
            .field("format", &self.format())
            .field("tickets", &self.tickets)
            .field("upload_time", &self.upload_time)
            .field("post_only", &self.post_only)
            .finish_non_exhaustive()
    }
}
