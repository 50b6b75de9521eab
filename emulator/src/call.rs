//! A request under way.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{header, request::Parts};
use md5::{Digest as _, Md5};

use crate::{
    address::Address,
    bucket::HostedBucket,
    callback::{Directive, of_request},
    catalogue,
    error::OssError,
    inbound::{Inbound, InboundError, MAX_BODY},
    query::Query,
    report::{UploadReport, UploadStep},
    shared::Shared,
    store::Sealed,
    storing,
};

/// The address an uploader comes from, in the extensions of a request: what `${clientIp}` is filled with.
///
/// [`Emulator::serve`](super::Emulator::serve) puts it there; whoever runs the service elsewhere may do so too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "a marker for one value")]
pub struct ClientAddress(pub SocketAddr);

/// What an operation is about.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) bucket: &'a HostedBucket,
    pub(crate) address: &'a Address,
    pub(crate) parts: &'a Parts,
    pub(crate) query: &'a Query,
    pub(crate) inbound: &'a Inbound,
    pub(crate) request_id: &'a str,
    pub(crate) now: SystemTime,
}

impl Call<'_> {
    /// The uploader's address; empty when it is not known.
    pub(crate) fn client(&self) -> String {
        let client = self.parts.extensions.get::<ClientAddress>();
        client.map_or_else(String::new, |client| client.0.ip().to_string())
    }

    /// The callback that headers or query ask for.
    pub(crate) async fn callback(
        &self,
        report: &mut UploadReport,
    ) -> Result<Option<Directive>, OssError> {
        let shared = self.shared;
        let network = &*shared.caller.network;
        let headers = &self.parts.headers;
        let directive = of_request(headers, self.query, network, shared.allow_private).await?;
        if let Some(directive) = &directive {
            report.callback = Some(directive.json.clone());
            report.steps.push(UploadStep::CallbackParameters);
        }
        Ok(directive)
    }

    /// Refuses when the object is there already.
    pub(crate) async fn must_be_new(&self, key: &str) -> Result<(), OssError> {
        let there = self.shared.store.contains(&self.bucket.name, key).await;
        match there {
            Ok(false) => Ok(()),
            Ok(true) => Err(catalogue::ALREADY_EXISTS),
            Err(_) => Err(catalogue::INTERNAL),
        }
    }

    /// The length that the request gives must be one OSS takes.
    pub(crate) fn check_length(&self, too_large: OssError) -> Result<(), OssError> {
        let headers = &self.parts.headers;
        let length = headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > MAX_BODY => Err(too_large),
            Some(_) => Ok(()),
            None if headers.contains_key(header::TRANSFER_ENCODING) => Ok(()),
            None if self.inbound.is_empty() => Err(catalogue::NO_LENGTH),
            None => Ok(()),
        }
    }

    /// Stores the body as it is, and holds it to its `Content-MD5`.
    pub(crate) async fn body(&self) -> Result<Sealed, OssError> {
        self.check_length(catalogue::TOO_LARGE)?;
        self.inbound.allow(u64::MAX);
        let upload = self.shared.store.begin(&self.bucket.name).await;
        let mut upload = upload.map_err(|_| catalogue::INTERNAL)?;
        while let Some(data) = self.inbound.chunk().await.map_err(|e| refusal(&e))? {
            upload.write(data).await.map_err(|e| storing::refusal(&e))?;
        }
        let sealed = upload.seal().await.map_err(|e| storing::refusal(&e))?;
        match self.parts.headers.get("content-md5") {
            Some(md5) if md5.as_bytes() != sealed.content().md5_base64().as_bytes() => {
                Err(catalogue::INVALID_DIGEST)
            }
            _ => Ok(sealed),
        }
    }

    /// The whole body, up to so many bytes, held to its `Content-MD5`.
    pub(crate) async fn document(&self, limit: usize) -> Result<Vec<u8>, OssError> {
        self.inbound.allow(u64::MAX);
        let mut document = Vec::new();
        while let Some(data) = self.inbound.chunk().await.map_err(|e| refusal(&e))? {
            if document.len() + data.len() > limit {
                return Err(catalogue::MALFORMED_XML);
            }
            document.extend_from_slice(&data);
        }
        let found = STANDARD.encode(Md5::digest(&document));
        match self.parts.headers.get("content-md5") {
            Some(said) if said.as_bytes() != found.as_bytes() => Err(catalogue::INVALID_DIGEST),
            _ => Ok(document),
        }
    }
}

fn refusal(error: &InboundError) -> OssError {
    match error {
        InboundError::Whole | InboundError::Allowance => catalogue::TOO_LARGE,
        InboundError::Read(_) => catalogue::INCOMPLETE_BODY,
    }
}
