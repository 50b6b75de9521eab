//! The client of one request, and what it is granted.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, request::Parts};

use super::{
    answer::SignedRequest,
    plan::Divider,
    presigner::{NewUpload, Presigner},
    signing::Signing,
};
use crate::policy::{
    authorize::{Authorize, Grants},
    grant::Grant,
    requested::{RequestedDownload, RequestedFile, RequestedFiles},
    service::{PolicyBody, TokenError},
};

/// A request without its body, and what answers it.
pub(super) struct Client<A> {
    pub(super) authorize: Arc<A>,
    pub(super) presigner: Arc<Presigner>,
    pub(super) parts: Parts,
}

impl<A: Authorize> Client<A> {
    pub(super) fn reject(&self, error: TokenError) -> Response<PolicyBody> {
        self.presigner.issuer.reject(error, &self.parts.method)
    }

    pub(super) fn presigner(&self) -> &Presigner {
        &self.presigner
    }

    pub(super) fn query(&self) -> Option<&str> {
        self.parts.uri.query()
    }

    /// Asks for a grant, narrows it to the file, and records it in the ledger, if there is one.
    pub(super) async fn create(
        &mut self,
        file: RequestedFile,
        divider: Divider,
    ) -> Result<(NewUpload, Signing<'_>), TokenError> {
        let grants = self.grants(RequestedFiles::one(file.clone())).await?;
        let grant = one(&grants)?;
        let signing = Signing::new(&self.presigner).await?;
        let upload = self.presigner.create(grant, &file, divider, signing.at)?;
        self.presigner.record(&upload).await?;
        Ok((upload, signing))
    }

    /// Asks for a grant to read, and signs the download.
    pub(super) async fn download(
        &mut self,
        requested: RequestedDownload,
    ) -> Result<SignedRequest, TokenError> {
        let grants = self.grants(requested.clone()).await?;
        let grant = one(&grants)?;
        Signing::new(&self.presigner)
            .await?
            .download(grant, &requested)
    }

    /// Returns the token of a form, for uploads in one request.
    pub(super) async fn form_token(&mut self) -> Result<Bytes, TokenError> {
        let requested = RequestedFiles::from_query(self.query())?;
        self.parts.extensions.insert(requested.clone());
        let issuer = &self.presigner.issuer;
        issuer
            .issue(&*self.authorize, &self.parts, &requested)
            .await
    }

    async fn grants<T>(&mut self, requested: T) -> Result<Grants, TokenError>
    where
        T: Clone + Send + Sync + 'static,
    {
        self.parts.extensions.insert(requested);
        let granted = self.authorize.authorize(&self.parts).await;
        Ok(granted?.into())
    }
}

/// Returns the grant for the one object of a request.
fn one(grants: &Grants) -> Result<&Grant, TokenError> {
    match grants.as_slice() {
        [grant] => Ok(grant),
        grants => Err(TokenError::grant_count(grants.len(), 1)),
    }
}
