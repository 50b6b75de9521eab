//! Signed requests: each step of a granted upload, and downloads.

use std::{borrow::Cow, time::SystemTime};

use http::Method;
use percent_encoding::utf8_percent_encode;

use super::{
    answer::SignedRequest,
    ask::{Ask, UploadId},
    handle::Upload,
    plan::Plan,
    presigner::{Presigner, unix_seconds},
};
use crate::{
    policy::{
        conditions::FieldSet,
        credentials::Credentials,
        error::PolicyError,
        grant::{Denied, Grant},
        json::push_string,
        object_name::UploadKey,
        requested::RequestedDownload,
        service::{TokenError, TokenErrorKind},
    },
    protocol::{ObjectKey, SizeRange, percent::UNRESERVED},
    sign::url::{UrlRequest, UrlSigner, push_number},
};

/// The type of the document that lists the parts.
const XML: &str = "application/xml";

const FORBID_OVERWRITE: (&str, &str) = ("x-oss-forbid-overwrite", "true");

/// Credentials and an instant, with which one request of a client is signed.
pub(super) struct Signing<'a> {
    presigner: &'a Presigner,
    credentials: Credentials,
    pub(super) at: SystemTime,
    /// The validity that the client wants, in seconds.
    pub(super) wanted: Option<u32>,
}

impl<'a> Signing<'a> {
    /// Reads credentials and clock. Everything of one request is signed at this instant.
    pub(super) async fn new(presigner: &'a Presigner) -> Result<Self, TokenError> {
        let credentials = presigner.issuer.credentials.credentials().await;
        let credentials = credentials.map_err(TokenError::credentials)?;
        let at = (presigner.issuer.clock)();
        if credentials.expires_at().is_some_and(|end| end <= at) {
            return Err(PolicyError::CredentialsExpired.into());
        }
        Ok(Self {
            presigner,
            credentials,
            at,
            wanted: None,
        })
    }

    /// `InitiateMultipartUpload`.
    pub(super) fn initiate(&self, upload: &Upload) -> Result<SignedRequest, TokenError> {
        self.of_upload(upload, Method::POST, &[("uploads", "")], upload.stored())
    }

    /// `PutObject` with a callback. The length is signed if it is known.
    pub(super) fn put(&self, upload: &Upload) -> Result<SignedRequest, TokenError> {
        if upload.sizes.min() > SizeRange::FORM_LIMIT {
            return Err(TokenErrorKind::TooLargeForPut.into());
        }
        let callback = self.presigner.callback(upload, self.at)?;
        let query: Vec<_> = callback
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let length = upload.size().map(|size| size.to_string());
        let mut headers = upload.stored();
        headers.extend(length.as_deref().map(|length| (CONTENT_LENGTH, length)));
        self.of_upload(upload, Method::PUT, &query, headers)
    }

    /// `ListParts`.
    pub(super) fn list(
        &self,
        upload: &Upload,
        id: &UploadId<'_>,
        marker: Option<u64>,
    ) -> Result<SignedRequest, TokenError> {
        let marker = marker.map(|marker| marker.to_string());
        let mut query = vec![("uploadId", id.as_str())];
        query.extend(
            marker
                .as_deref()
                .map(|marker| ("part-number-marker", marker)),
        );
        self.of_upload(upload, Method::GET, &query, Vec::new())
    }

    /// `CompleteMultipartUpload` with a callback.
    pub(super) fn complete(
        &self,
        upload: &Upload,
        id: &UploadId<'_>,
    ) -> Result<SignedRequest, TokenError> {
        let callback = self.presigner.callback(upload, self.at)?;
        let mut query = vec![("uploadId", id.as_str())];
        query.extend(callback.iter().map(|(name, value)| (*name, &**value)));
        let mut headers = vec![("content-type", XML)];
        headers.extend((!upload.overwrite).then_some(FORBID_OVERWRITE));
        self.of_upload(upload, Method::POST, &query, headers)
    }

    /// `AbortMultipartUpload`.
    pub(super) fn abort(
        &self,
        upload: &Upload,
        id: &UploadId<'_>,
    ) -> Result<SignedRequest, TokenError> {
        let query = [("uploadId", id.as_str())];
        self.of_upload(upload, Method::DELETE, &query, Vec::new())
    }

    /// `UploadPart`, for one part.
    pub(super) fn part(
        &self,
        upload: &Upload,
        id: &UploadId<'_>,
        number: u64,
    ) -> Result<SignedRequest, TokenError> {
        let number = part_number(upload.plan(), number)?;
        let length = upload
            .plan()
            .length(number)
            .map(|length| length.to_string());
        let number = number.to_string();
        let query = [("partNumber", &*number), ("uploadId", id.as_str())];
        let headers = length.as_deref().map(|length| (CONTENT_LENGTH, length));
        self.of_upload(upload, Method::PUT, &query, headers.into_iter().collect())
    }

    /// `UploadPart`, for up to 100 parts: the JSON of the answer.
    pub(super) fn parts_json(
        &self,
        upload: &Upload,
        id: &UploadId<'_>,
        numbers: &[u64],
    ) -> Result<String, TokenError> {
        Ask::check_parts(numbers)?;
        let plan = upload.plan();
        let longest = self.presigner.url_lifetime.as_secs();
        let (seconds, expires) = self.validity(upload.expires, longest)?;
        let signer = self.signer(&upload.key)?;
        let sized = plan.length(1).is_some();
        let mut urls = signer.parts(id.as_str(), sized, seconds);
        // What all parts have in common, written once.
        let mut before_url = String::from(",\"request\":{\"method\":\"PUT\",\"url\":");
        push_string(&mut before_url, urls.start());
        before_url.pop();
        let mut after_url = String::from("\",\"headers\":{},\"expires\":");
        push_number(&mut after_url, expires);
        after_url.push_str("}}");

        let mut out = String::with_capacity(64 + numbers.len() * (before_url.len() + 512));
        let mut separator = "{\"parts\":[";
        for number in numbers {
            let number = part_number(plan, *number)?;
            let length = plan.length(number);
            out.extend([separator, "{\"partNumber\":"]);
            push_number(&mut out, number.into());
            if let Some(length) = length {
                out.push_str(",\"size\":");
                push_number(&mut out, length);
            }
            out.push_str(&before_url);
            urls.push(number, length.unwrap_or_default(), &mut out);
            out.push_str(&after_url);
            separator = ",";
        }
        out.push_str("]}");
        Ok(out)
    }

    /// `GetObject`.
    pub(super) fn download(
        &self,
        grant: &Grant,
        requested: &RequestedDownload,
    ) -> Result<SignedRequest, TokenError> {
        if !grant.get_read() {
            return Err(Denied::Access.into());
        }
        grant.check(FieldSet::Full)?;
        let key = requested.key();
        let covered = match grant.upload_key() {
            UploadKey::Exact(granted) => granted == key,
            UploadKey::Under(prefix) => prefix.contains(key),
        };
        let process = requested.process();
        let permitted = |process| grant.get_processes().any(|one| one == process);
        if !covered || !process.is_none_or(permitted) {
            return Err(Denied::Download.into());
        }
        let disposition = requested.filename().map(attachment);
        let mut query = Vec::new();
        query.extend(
            disposition
                .as_deref()
                .map(|text| ("response-content-disposition", text)),
        );
        query.extend(process.map(|process| ("x-oss-process", process)));
        let lifetime = grant.get_lifetime().as_secs();
        let end = unix_seconds(self.at).saturating_add(lifetime);
        self.request(key, Method::GET, &query, Vec::new(), (end, lifetime))
    }

    fn of_upload(
        &self,
        upload: &Upload,
        method: Method,
        query: &[(&str, &str)],
        headers: Vec<(&str, &str)>,
    ) -> Result<SignedRequest, TokenError> {
        let longest = self.presigner.url_lifetime.as_secs();
        self.request(
            &upload.key,
            method,
            query,
            headers,
            (upload.expires, longest),
        )
    }

    /// Signs a request. All headers are signed. The last argument is that of
    /// [`validity`](Self::validity).
    fn request(
        &self,
        key: &ObjectKey,
        method: Method,
        query: &[(&str, &str)],
        headers: Vec<(&str, &str)>,
        (end, longest): (u64, u64),
    ) -> Result<SignedRequest, TokenError> {
        let (seconds, expires) = self.validity(end, longest)?;
        let url = self.signer(key)?.url(&UrlRequest {
            method: &method,
            query,
            headers: &headers,
            seconds,
        });
        // The browser sets it itself, and lets no script do so.
        let sent = headers
            .into_iter()
            .filter(|(name, _)| *name != CONTENT_LENGTH);
        Ok(SignedRequest {
            method,
            url,
            headers: sent
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            expires,
        })
    }

    fn signer(&self, key: &ObjectKey) -> Result<UrlSigner, PolicyError> {
        let config = &self.presigner.issuer.config;
        let signer = config.request_signer(&self.credentials, self.at)?;
        let base = config.destination.upload_url();
        let bucket = self.presigner.bucket();
        Ok(UrlSigner::new(&signer, bucket, key.as_str(), base.as_str()))
    }

    /// Returns for how many seconds a URL is valid, and when it ends: after `longest` seconds, at
    /// `end` or with the credentials, whatever is first.
    fn validity(&self, end: u64, longest: u64) -> Result<(u32, u64), TokenError> {
        let now = unix_seconds(self.at);
        if end <= now {
            return Err(TokenErrorKind::HandleExpired.into());
        }
        let credentials = self.credentials.expires_at();
        let credentials = credentials.map_or(u64::MAX, unix_seconds);
        if credentials <= now {
            return Err(PolicyError::CredentialsExpired.into());
        }
        let wanted = self
            .wanted
            .map_or(longest, |wanted| u64::from(wanted.max(1)));
        let last = now.saturating_add(longest.min(wanted));
        let last = last.min(end).min(credentials);
        let seconds = u32::try_from(last - now).map_err(|_| PolicyError::Lifetime)?;
        Ok((seconds, last))
    }
}

const CONTENT_LENGTH: &str = "content-length";

impl Upload {
    /// Returns the headers that are stored with the object.
    pub(super) fn stored(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![
            ("content-type", self.content_type.as_str()),
            ("x-oss-object-acl", self.acl.as_str()),
        ];
        headers.extend((!self.overwrite).then_some(FORBID_OVERWRITE));
        let own = self.headers.iter();
        headers.extend(own.map(|(name, value)| (&**name, &**value)));
        headers
    }
}

/// Returns the number of a part that the upload has.
fn part_number(plan: Plan, number: u64) -> Result<u16, TokenError> {
    let known = u16::try_from(number).ok();
    let known = known.filter(|number| (1..=plan.count()).contains(number));
    known.ok_or_else(|| TokenErrorKind::InvalidPart.into())
}

/// Returns a `Content-Disposition` with which browsers save a file under this name (RFC 6266).
fn attachment(name: &str) -> String {
    // For clients that do not know `filename*`.
    let plain: Cow<'_, str> = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let encoded = utf8_percent_encode(name, UNRESERVED);
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_downloads() {
        for (name, expected) in [
            (
                "a b.mp4",
                "attachment; filename=\"a b.mp4\"; filename*=UTF-8''a%20b.mp4",
            ),
            (
                "\"照片\\%.jpg",
                "attachment; filename=\"_____.jpg\"; \
                 filename*=UTF-8''%22%E7%85%A7%E7%89%87%5C%25.jpg",
            ),
        ] {
            assert_eq!(attachment(name), expected);
        }
    }
}
