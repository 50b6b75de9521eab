//! What the service signs: each step of a granted upload, and downloads.

use std::{
    fmt,
    num::NonZeroU16,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    PresignFormat,
    handle::{Audience, HandleError, Pairs, Upload},
    plan::{DEFAULT_PART, Divider, Plan},
};
use crate::{
    metrics,
    policy::{
        conditions::{ContentTypes, FieldSet},
        error::{FieldProblem, PolicyError},
        grant::{Denied, Grant, SLOWEST_UPLOAD},
        object_name::{UploadKey, name_object},
        random::RandomBytes,
        requested::RequestedFile,
        service::{Issuer, TokenError, TokenErrorKind},
        ticket_issuer::{TicketIssuer, TicketRequest},
    },
    protocol::{Bucket, ContentType, ObjectKey, SizeRange},
    storage::MultipartStorage,
    ticket::{TicketKeys, ledger::GrantedUpload},
};

/// How long a handle is valid unless the grant has a lifetime: time to sleep over a pause.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a large file lengthens that, unless the grant has a maximum. The longest that OSS
/// accepts a signature.
const DEFAULT_MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a URL is valid by default.
pub(super) const DEFAULT_URL_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Headers that are stored with an object, besides `x-oss-*`.
const OBJECT_HEADERS: [&str; 5] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];

/// The settings of a service that signs URLs.
#[derive(Clone)]
pub(super) struct Presigner {
    pub(super) issuer: Issuer,
    keys: TicketKeys,
    bucket: Bucket,
    audience: Audience,
    pub(super) url_lifetime: Duration,
    pub(super) part_size: u64,
    pub(super) format: PresignFormat,
    pub(super) storage: Option<Arc<dyn MultipartStorage>>,
}

/// A granted upload, before the client knows of it.
pub(super) struct NewUpload {
    pub(super) upload: Upload,
    pub(super) handle: String,
    /// The row of the ledger, if the upload is recorded.
    row: Option<GrantedUpload>,
}

impl Presigner {
    /// Fails without tickets, whose keys seal the handles.
    pub(super) fn new(issuer: Issuer) -> Result<Self, PolicyError> {
        let keys = match &issuer.tickets {
            Some(tickets) => tickets.keys().clone(),
            None => return Err(PolicyError::Tickets),
        };
        let bucket = issuer.config.destination.bucket_name();
        let bucket = bucket.ok_or(PolicyError::Bucket)?.clone();
        // URLs are signed with version 4 whatever the version of the forms is.
        issuer.config.require_region()?;
        Ok(Self {
            audience: audience(&issuer, &bucket),
            issuer,
            keys,
            bucket,
            url_lifetime: DEFAULT_URL_LIFETIME,
            part_size: DEFAULT_PART,
            format: PresignFormat::default(),
            storage: None,
        })
    }

    pub(super) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Returns what the handle contains.
    pub(super) fn open(&self, handle: &str) -> Result<Upload, TokenError> {
        let now = unix_seconds((self.issuer.clock)());
        Upload::open(handle, &self.keys, &self.audience, now).map_err(|error| {
            let kind = match error {
                HandleError::Invalid => TokenErrorKind::InvalidHandle,
                // The client starts again, and gets a handle for the new settings.
                HandleError::Audience | HandleError::Expired => TokenErrorKind::HandleExpired,
            };
            kind.into()
        })
    }

    /// Narrows a grant to one file.
    pub(super) fn create(
        &self,
        grant: &Grant,
        file: &RequestedFile,
        divider: Divider,
        at: SystemTime,
    ) -> Result<NewUpload, Denied> {
        if grant.get_read() {
            return Err(Denied::Access);
        }
        grant.check(FieldSet::Full)?;
        if let Some(condition) = grant.get_conditions().first() {
            return Err(PolicyError::field(condition.field(), FieldProblem::NeedsForm).into());
        }
        let granted = grant.get_size();
        let sizes = match file.size() {
            Some(size) if !granted.contains(size) => return Err(Denied::Size(granted)),
            Some(size) => SizeRange::new(size, size).map_err(|_| Denied::Size(granted))?,
            None => granted,
        };
        let planned = file.size().filter(|_| divider == Divider::Service);
        let part_size = match planned.map(|size| Plan::new(size, self.part_size)) {
            Some(Plan::Parts { part, .. }) => Some(part),
            _ => None,
        };
        // Neither the URLs nor a ticket would bound the size.
        if part_size.is_none() && grant.get_without_callback() {
            return Err(PolicyError::WithoutCallback.into());
        }
        let mut random = RandomBytes::for_tokens(1);
        let context = self.issuer.context(at);
        let key = object_key(grant, file, at, &mut random)?;
        let exact = UploadKey::Exact(key.clone());
        let nonce = grant.nonce(&context, &exact, random.take()?)?;
        let claims = grant.claims_json()?.map(|claims| claims.to_string().into());
        let upload = Upload {
            expires: unix_seconds(at)
                .checked_add(lifetime(grant, file.size()).as_secs())
                .ok_or(PolicyError::Clock)?,
            overwrite: grant.get_allow_overwrite(),
            without_callback: grant.get_without_callback(),
            acl: grant.get_object_acl(),
            sizes,
            part_size,
            key,
            content_type: one_type(&*grant.content_types_for(file)?),
            claims,
            filename: file.filename().map(Into::into),
            variables: grant.variables().to_vec(),
            headers: object_headers(grant)?,
            nonce,
        };
        let pairs = upload.variables.iter();
        let pairs = pairs.map(|(name, value)| (&**name, &**value));
        self.issuer.config.check_variables(pairs)?;
        // Fails now rather than when the upload is complete.
        let ticket = match self.callback_with_ticket(&upload, at) {
            Err(error) if error.is_of_length() && upload.filename.is_some() => {
                let unnamed = Upload {
                    filename: None,
                    ..upload
                };
                // The client can only send a shorter name if the rest fits.
                self.callback_with_ticket(&unnamed, at)?;
                return Err(Denied::Filename);
            }
            callback => callback?.map(|(_, ticket)| ticket),
        };
        // Here only: the later steps of this upload issue the same ticket again.
        if ticket.is_some() {
            metrics::ticket_issued();
        }
        let handle = upload.seal(&self.keys, &self.audience)?;
        let row = match grant.is_recorded(&context) {
            true => Some(self.row(&upload, ticket.as_deref(), at)?),
            false => None,
        };
        Ok(NewUpload {
            upload,
            handle,
            row,
        })
    }

    /// Records the upload in the ledger, if there is one. Must complete before the client gets the
    /// handle.
    pub(super) async fn record(&self, upload: &NewUpload) -> Result<(), TokenError> {
        let recorded = self.issuer.record(upload.row.as_slice()).await;
        recorded.map_err(TokenError::ledger)
    }

    /// Returns the row of the ledger. It is due a minute after its ticket expires, which is at the
    /// end of the handle plus the upload time. No URL outlives the handle, so OSS can store the
    /// object until then.
    fn row(
        &self,
        upload: &Upload,
        ticket: Option<&str>,
        at: SystemTime,
    ) -> Result<GrantedUpload, PolicyError> {
        Ok(GrantedUpload::new(
            upload.nonce,
            self.bucket.clone(),
            upload.key.clone(),
            at,
            self.tickets()?.expires(upload.expires_at()?)?,
            self.issuer.callback.call_for(&upload.variables, ticket),
        ))
    }

    /// Returns the query parameters of the callback: always with the same nonce for one upload, so
    /// that its ticket is redeemed once however often the upload is completed.
    pub(super) fn callback(
        &self,
        upload: &Upload,
        at: SystemTime,
    ) -> Result<Vec<(&'static str, String)>, PolicyError> {
        let Some((encoded, _)) = self.callback_with_ticket(upload, at)? else {
            return Ok(Vec::new());
        };
        let mut query = vec![("callback", encoded)];
        let callback = &self.issuer.callback;
        let variables = callback.encoded_variables_with(&upload.variables);
        query.extend(variables.map(|variables| ("callback-var", variables)));
        Ok(query)
    }

    /// Returns the encoded callback and its ticket, or `None` for an upload without a callback.
    fn callback_with_ticket(
        &self,
        upload: &Upload,
        at: SystemTime,
    ) -> Result<Option<(String, String)>, PolicyError> {
        if upload.without_callback {
            return Ok(None);
        }
        let claims: Option<Value> = match &upload.claims {
            None => None,
            Some(claims) => Some(serde_json::from_str(claims).map_err(|_| PolicyError::Claims)?),
        };
        let request = TicketRequest {
            bucket: &self.bucket,
            key: &UploadKey::Exact(upload.key.clone()),
            size: upload.sizes,
            content_types: Some(&ContentTypes::One(upload.content_type.clone())),
            claims: claims.as_ref(),
            filename: upload.filename.as_deref(),
            max_uses: NonZeroU16::MIN,
            policy_expires: upload.expires_at()?,
        };
        let (callback, variables) = (&self.issuer.callback, &upload.variables);
        let tickets = self.tickets()?;
        let ticket = tickets.issue(&request, callback, variables, at, upload.nonce)?;
        let encoded = callback.encode_for(variables, Some(&ticket));
        Ok(Some((encoded.map_err(PolicyError::Callback)?, ticket)))
    }

    fn tickets(&self) -> Result<TicketIssuer<'_>, PolicyError> {
        self.issuer.ticket_issuer().ok_or(PolicyError::Tickets)
    }
}

impl fmt::Debug for Presigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presigner")
            .field("issuer", &self.issuer)
            .field("url_lifetime", &self.url_lifetime)
            .field("part_size", &self.part_size)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

/// A handle of one service is of no use to one with another bucket or callback.
fn audience(issuer: &Issuer, bucket: &Bucket) -> Audience {
    let mut hash = Sha256::new();
    let callback = &issuer.callback;
    let targets = callback.targets().map(|target| target.as_str());
    for text in [bucket.as_str(), callback.body_type().as_str()]
        .into_iter()
        .chain(targets)
    {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// Maps times before 1970 to 1970, when nothing is valid.
pub(super) fn unix_seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// Returns how long the handle is valid: long enough for this size at 1 Mbit/s, within the grant.
fn lifetime(grant: &Grant, size: Option<u64>) -> Duration {
    let chosen = grant.chosen_lifetime();
    let longest = grant.chosen_max_lifetime().or(chosen);
    let longest = longest.unwrap_or(DEFAULT_MAX_LIFETIME);
    let least = chosen.unwrap_or_else(|| DEFAULT_LIFETIME.min(longest));
    let upload = Duration::from_secs(size.unwrap_or_default().div_ceil(SLOWEST_UPLOAD));
    least.max(upload.min(longest))
}

fn object_key(
    grant: &Grant,
    file: &RequestedFile,
    at: SystemTime,
    random: &mut RandomBytes,
) -> Result<ObjectKey, Denied> {
    match grant.upload_key() {
        UploadKey::Exact(key) => Ok(key.clone()),
        UploadKey::Under(prefix) if grant.get_any_name() => {
            let name = file.filename().ok_or(Denied::ObjectName)?;
            let key = format!("{prefix}{name}").parse();
            key.map_err(|_| Denied::ObjectName)
        }
        UploadKey::Under(prefix) => Ok(name_object(prefix, file.filename(), at, &random.take()?)?),
    }
}

/// Returns the type of the object. The list was narrowed to one.
fn one_type(types: &ContentTypes) -> ContentType {
    types.list().next().unwrap_or(ContentType::OCTET_STREAM)
}

/// Returns the fields of the grant as headers.
fn object_headers(grant: &Grant) -> Result<Pairs, PolicyError> {
    let header = |(name, value): (&str, &str)| {
        let lower = name.to_ascii_lowercase();
        let known = lower.starts_with("x-oss-") || OBJECT_HEADERS.contains(&&*lower);
        let plain = value.bytes().all(|b| matches!(b, b' '..=b'~')) && value.trim() == value;
        if !known || !plain || value.is_empty() {
            return Err(PolicyError::field(name, FieldProblem::NotAHeader));
        }
        Ok((lower.into(), value.into()))
    };
    grant.get_fields().map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_of_handles() {
        let grant = || Grant::under("a/".parse().unwrap(), SizeRange::ANY);
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        for (grant, size, expected) in [
            (grant(), None, day),
            (grant(), Some(1), day),
            // 80 GiB at 1 Mbit/s take 7 d 23 h.
            (grant(), Some(80 << 30), 7 * day),
            (
                grant(),
                Some(125_000 * 100_000),
                Duration::from_secs(100_000),
            ),
            (grant().lifetime(hour), Some(80 << 30), hour),
            (grant().max_lifetime(hour), Some(80 << 30), hour),
            (
                grant().lifetime(hour).max_lifetime(2 * day),
                Some(80 << 30),
                2 * day,
            ),
            (grant().lifetime(hour).max_lifetime(2 * day), None, hour),
        ] {
            assert_eq!(lifetime(&grant, size), expected, "{grant:?} {size:?}");
        }
    }
}
