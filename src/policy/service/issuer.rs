//! From what was asked for to what is answered.

use std::{fmt, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{Method, request::Parts};

use super::{format::TokenFormat, problem::Problem};
use crate::policy::{
    authorize::Authorize,
    credentials::{Credentials, CredentialsProvider},
    error::PolicyError,
    grant::Grant,
    requested::{RequestedFile, RequestedFiles},
    template::Template,
    upload_token::UploadToken,
};

/// What the tokens of a service have in common.
#[derive(Clone)]
pub(super) struct Issuer {
    pub(super) template: Arc<Template>,
    pub(super) credentials: Arc<dyn CredentialsProvider>,
    pub(super) format: TokenFormat,
    pub(super) clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    pub(super) post_only: bool,
}

impl Issuer {
    pub(super) fn accepts(&self, method: &Method) -> Result<(), Problem> {
        let reads = [Method::GET, Method::HEAD].contains(method) && !self.post_only;
        if method == Method::POST || reads {
            Ok(())
        } else if self.post_only {
            Err(Problem::Method("POST"))
        } else {
            Err(Problem::Method("GET, HEAD, POST"))
        }
    }

    /// Asks the authoriser, and signs what it grants.
    pub(super) async fn token(
        &self,
        authorize: &impl Authorize,
        parts: &Parts,
        asked: &RequestedFiles,
    ) -> Result<Bytes, Problem> {
        let grant = authorize.authorize(parts).await.map_err(Problem::Refused)?;
        if asked.is_batch() {
            // One token under a prefix serves any number of files there, so these formats know no batch.
            if self.format != TokenFormat::Fields {
                return Err(Problem::BatchInFormat);
            }
            if grant.is_exact() {
                return Err(Problem::BatchUnderExactKey);
            }
        }
        let credentials = self.credentials.credentials().await;
        let credentials = credentials.map_err(|error| Problem::credentials(&error))?;
        let at = (self.clock)();
        if credentials.expires_at().is_some_and(|end| end <= at) {
            return Err(PolicyError::CredentialsExpired.into());
        }
        let tokens = asked
            .files()
            .iter()
            .map(|file| self.sign(&grant, file, &credentials, at))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(match &*tokens {
            [token] if !asked.is_batch() => self.format.token(token)?,
            tokens => self.format.batch(tokens)?,
        })
    }

    fn sign(
        &self,
        grant: &Grant,
        file: &RequestedFile,
        credentials: &Credentials,
        at: SystemTime,
    ) -> Result<UploadToken, Problem> {
        let policy = grant.policy(&self.template, file, credentials, at)?;
        Ok(policy.sign(credentials, at)?)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("template", &self.template)
            .field("format", &self.format)
            .field("post_only", &self.post_only)
            .finish_non_exhaustive()
    }
}
