//! The ticket itself: issuing, verification, and the binary layout.
//!
//! The layout is our own instead of JSON, CBOR or a JWT, because [`TicketKeys::check`] parses
//! attacker bytes before any signature check. It is small enough to review in one sitting: before
//! the MAC is verified, three bytes are read at fixed offsets, and no allocation happens. It has no
//! algorithm field, no optional fields and no second spelling of any value. Every field has a fixed
//! length or a length prefix, so distinct terms have distinct bytes (RP-09).
//!
//! The [`ticket`](super) module documents the fields.

use std::{
    fmt,
    num::NonZeroU16,
    str::FromStr,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use serde::de::DeserializeOwned;
use sha2::Sha256;

use super::{
    fields::{BodyField, FieldDigest, FieldKind, SealedFields},
    key::{Nonce, TicketKey, TicketKeys},
    store::UseLimit,
    terms::{MAX_LIFETIME, MAX_TICKET_LEN, Scope, TargetDigest, Terms, TermsError},
};
use crate::protocol::{
    Bucket, CallbackBodyType, CallbackTarget, ContentType, ObjectKey, ObjectPrefix, SizeRange,
};

/// The tolerated difference between the clocks of two instances: a ticket is accepted for 60 s
/// after its expiry.
pub const SKEW: Duration = Duration::from_secs(60);

impl TicketKeys {
    /// Issues a ticket for `terms` with the newest key. It seals `fields`, the fields of the
    /// callback body in their order. `nonce` must be unique.
    ///
    /// # Errors
    ///
    /// Fails if the terms expire at or before `now`, if they expire later than [`MAX_LIFETIME`]
    /// from now, or if they exceed the limits of [`Terms`] or [`MAX_TICKET_LEN`].
    #[doc(hidden)]
    pub fn issue<'a>(
        &self,
        terms: &Terms,
        fields: impl IntoIterator<Item = BodyField<'a>>,
        now: SystemTime,
        nonce: Nonce,
    ) -> Result<String, TermsError> {
        // The layout has whole seconds. Compared like this, `check` sees the same time.
        let expires = since_epoch(terms.expires).as_secs();
        let sealed = SealedFields::of(fields, &nonce).ok_or(TermsError::TooManyFields)?;
        let mut bytes = write(self.newest_id(), expires, &nonce, terms, &sealed)?;
        match Duration::from_secs(expires).checked_sub(since_epoch(now)) {
            None | Some(Duration::ZERO) => return Err(TermsError::Expired),
            Some(lifetime) if lifetime > MAX_LIFETIME => return Err(TermsError::TooFar),
            Some(_) => {}
        }
        let mac = mac(self.newest(), &bytes).finalize();
        bytes.extend(mac.into_bytes());
        let text = URL_SAFE_NO_PAD.encode(bytes);
        if text.len() > MAX_TICKET_LEN {
            return Err(TermsError::TooLong(text.len()));
        }
        Ok(text)
    }

    /// Verifies that `text` is an authentic, unexpired ticket for this target and body type.
    ///
    /// The MAC is compared in constant time, and before it only the version and the key id are
    /// read. Rejecting a ticket does not allocate.
    ///
    /// # Errors
    ///
    /// Fails with the first check that does not hold.
    #[doc(hidden)]
    pub fn check(
        &self,
        text: &str,
        target: &CallbackTarget,
        body_type: CallbackBodyType,
        now: SystemTime,
    ) -> Result<CheckedTicket, TicketError> {
        self.check_at(text, target, body_type, now, SKEW)
    }

    /// Like [`check`](Self::check), and also accepts a ticket that has expired: the recovery of an
    /// upload takes place afterwards.
    pub(crate) fn check_expired(
        &self,
        text: &str,
        target: &CallbackTarget,
        body_type: CallbackBodyType,
        now: SystemTime,
    ) -> Result<CheckedTicket, TicketError> {
        self.check_at(text, target, body_type, now, Duration::MAX)
    }

    /// `late` is how long after its expiry a ticket is accepted.
    fn check_at(
        &self,
        text: &str,
        target: &CallbackTarget,
        body_type: CallbackBodyType,
        now: SystemTime,
        late: Duration,
    ) -> Result<CheckedTicket, TicketError> {
        if text.is_empty() {
            return Err(TicketError::Absent);
        }
        // Bounds the work for a forgery, and keeps the text within the buffer below.
        if text.len() > MAX_TICKET_LEN {
            return Err(TicketError::Malformed);
        }
        // On the stack, so that a flood of forgeries costs no allocation.
        let mut buffer = [0; MAX_BYTES];
        // This engine rejects padding and non-zero trailing bits: a ticket has one spelling.
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut buffer)
            .map_err(|_| TicketError::Malformed)?;
        let (content, tag) = buffer
            .get(..length)
            .and_then(|bytes| bytes.split_last_chunk::<MAC_LEN>())
            .ok_or(TicketError::Malformed)?;
        let head = Head::read(content).ok_or(TicketError::Malformed)?;
        if head.version != VERSION {
            return Err(TicketError::UnknownVersion);
        }
        let key = self.key(head.key_id).ok_or(TicketError::UnknownKey)?;
        mac(key, content)
            .verify_slice(tag)
            .map_err(|_| TicketError::Mac)?;

        // Authentic from here on. The expiry comes before everything that is decoded: an expired
        // ticket is the one that anybody can have.
        let expires = Head::expires(content).ok_or(TicketError::Malformed)?;
        let (expires, now) = (Duration::from_secs(expires), since_epoch(now));
        // The instance that issued the ticket can have another clock than this one.
        if now.saturating_sub(expires) > late {
            return Err(TicketError::Expired);
        }
        // `mint` limits the lifetime, so one of the clocks is wrong. Accepted, such a ticket would
        // outlive the records of the stores.
        if expires.saturating_sub(now) > MAX_LIFETIME + SKEW {
            return Err(TicketError::TooFar);
        }
        // It can still be unreadable if a later release issued another layout under the same
        // version.
        let content = read(content).ok_or(TicketError::Malformed)?;
        if !content.terms.targets.contains(&TargetDigest::of(target)) {
            return Err(TicketError::Target);
        }
        // The same bytes can be a form and JSON with different values, and the header that selects
        // one is not signed.
        if content.terms.body_type != body_type {
            return Err(TicketError::BodyType);
        }
        Ok(CheckedTicket {
            nonce: content.nonce,
            terms: content.terms,
            sealed: content.sealed,
        })
    }
}

/// An authentic, unexpired ticket for the target and body type of a callback.
///
/// It does not prove that the callback stays within the grant, which [`permits`](Self::permits)
/// verifies, or that the ticket is unused, which
/// [`ReplayStore::begin`](super::store::ReplayStore::begin) verifies.
#[derive(Clone)]
pub struct CheckedTicket {
    nonce: Nonce,
    terms: Terms,
    sealed: SealedFields,
}

impl CheckedTicket {
    /// Verifies that the upload stays within the grant: bucket, object key, size in bytes, and
    /// content type.
    ///
    /// The uploader who holds the ticket can make OSS report a false size or type by uploading
    /// through their own bucket. Query OSS for facts that must be true.
    ///
    /// # Errors
    ///
    /// Fails with the first value that is outside the grant.
    pub fn permits(
        &self,
        bucket: &str,
        object: &str,
        size: u64,
        content_type: &str,
    ) -> Result<(), TicketError> {
        let terms = &self.terms;
        if terms.bucket.as_str() != bucket {
            return Err(TicketError::Bucket);
        }
        if !terms.scope.contains(object) {
            return Err(TicketError::Object);
        }
        if !terms.sizes.contains(size) {
            return Err(TicketError::Size);
        }
        // A missing type is empty and matches none, so only an unrestricted grant permits it.
        if !terms.content_types.is_empty() && self.granted_content_type(content_type).is_none() {
            return Err(TicketError::ContentType);
        }
        Ok(())
    }

    /// Returns the granted content type that equals this one, if the grant has a list of types.
    /// Media types are case-insensitive.
    pub(crate) fn granted_content_type(&self, content_type: &str) -> Option<&str> {
        let mut granted = self.terms.content_types.iter().map(ContentType::as_str);
        granted.find(|granted| granted.eq_ignore_ascii_case(content_type))
    }

    /// Returns what kind of value each field of the callback body has, in their order.
    pub(crate) fn sealed_kinds(&self) -> impl Iterator<Item = FieldKind> + '_ {
        self.sealed.kinds()
    }

    /// Returns whether these are the sealed fields, with the sealed values.
    pub(crate) fn seals(&self, fields: FieldDigest) -> bool {
        self.sealed.are(fields, &self.nonce)
    }

    /// Deserializes the claims. Without claims it deserializes JSON `null`, so `Option<T>` always
    /// succeeds.
    ///
    /// # Errors
    ///
    /// Fails if the claims do not match `T`.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<T, TicketError> {
        let claims = match &*self.terms.claims {
            "" => "null",
            claims => claims,
        };
        // The error of serde can quote the claims, which must not end up in a log.
        serde_json::from_str(claims).map_err(|_| TicketError::Claims)
    }

    /// Returns the name of the file that the client requested the upload for, if it sent one.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        Some(&*self.terms.filename).filter(|name| !name.is_empty())
    }

    /// Returns the nonce, which identifies the ticket in a store.
    #[must_use]
    pub const fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Returns the expiry.
    #[must_use]
    pub const fn expires(&self) -> SystemTime {
        self.terms.expires
    }

    /// Returns when the ticket stops being accepted: the expiry plus [`SKEW`]. A store must keep
    /// its record until then.
    #[must_use]
    pub fn until(&self) -> SystemTime {
        self.terms
            .expires
            .checked_add(SKEW)
            .unwrap_or(self.terms.expires)
    }

    /// Returns the bucket.
    #[must_use]
    pub const fn bucket(&self) -> &Bucket {
        &self.terms.bucket
    }

    /// Returns the object or prefix.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.terms.scope
    }

    /// Returns whether the ticket grants one object, and so one callback.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        matches!(self.terms.scope, Scope::Exact(_))
    }

    /// Returns how often the ticket can be redeemed.
    #[must_use]
    pub const fn use_limit(&self) -> UseLimit {
        self.terms.scope.use_limit()
    }
}

impl fmt::Debug for CheckedTicket {
    /// Omits the claims and the file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedTicket")
            .field("nonce", &self.nonce)
            .field("terms", &self.terms)
            .finish()
    }
}

/// Why a ticket was rejected. The layer responds with 403 to every variant.
///
/// The messages are constant: they never contain input of the sender.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The callback has no ticket.
    #[error("the callback has no ticket; was the upload granted by this service?")]
    Absent,
    /// The callback body contains several tickets.
    #[error("the callback body contains more than one ticket; name the field once")]
    Repeated,
    /// The text is too long, too short, not canonical Base64, or authentic but unreadable.
    #[error("the ticket is malformed; does the callback body contain it unchanged?")]
    Malformed,
    /// This release does not know the version.
    #[error("the ticket has an unknown version; was it issued by another release?")]
    UnknownVersion,
    /// The key that issued the ticket is not, or no longer, configured.
    #[error(
        "the ticket was issued with an unknown key; configure the same keys on all instances, and \
         keep old ones until their tickets have expired"
    )]
    UnknownKey,
    /// The MAC does not match: the ticket was modified, or this service did not issue it.
    #[error("the ticket is not authentic")]
    Mac,
    /// The ticket expired more than [`SKEW`] ago.
    #[error("the ticket has expired")]
    Expired,
    /// The ticket expires later than any ticket can: the clocks disagree.
    #[error("the ticket expires too far in the future; compare the clocks of the instances")]
    TooFar,
    /// The ticket is for another callback target.
    #[error("the ticket is for another callback target")]
    Target,
    /// The ticket is for the other type of callback body.
    #[error("the ticket is for the other type of callback body")]
    BodyType,
    /// The callback body is not written as `callbackBody` is, or a value of OSS cannot be read.
    #[error("the callback body cannot be parsed; compare it with callbackBody")]
    Unreadable,
    /// The fields of the callback body are not exactly those of the grant: a field was added, left
    /// out, moved or repeated, or a constant or custom variable has another value.
    #[error("the fields of the callback body are not those that the ticket seals")]
    Fields,
    /// A field contains the name of a variable instead of its value.
    #[error(
        "the callback body contains a variable that OSS did not replace; was callbackBody \
         percent-encoded as a whole?"
    )]
    Unsubstituted,
    /// The ticket is for another bucket, or the callback names none.
    #[error("the ticket is for another bucket, or the callback body names none")]
    Bucket,
    /// The ticket is for another object, or the callback names none.
    #[error("the ticket is for another object, or the callback body names none")]
    Object,
    /// The size of the object is outside the grant, or the callback does not report it.
    #[error("the ticket does not grant the size of the object")]
    Size,
    /// The content type of the object is outside the grant, or the callback does not report it.
    #[error("the ticket does not grant the content type of the object")]
    ContentType,
    /// The claims do not match the requested type.
    #[error("the claims of the ticket do not match the requested type")]
    Claims,
}

/// The decoded length of the longest ticket, in bytes.
pub(super) const MAX_BYTES: usize = MAX_TICKET_LEN / 4 * 3;

const VERSION: u8 = 3;

const EXACT: u8 = 0;
const PREFIX: u8 = 1;

const FORM: u8 = 0;
const JSON: u8 = 1;

/// Separates this use of the key from any other. Length-prefixed, like every text in a ticket.
const DOMAIN: &[u8] = b"\x00\x09oss-cb-v1";

const MAC_LEN: usize = 32;

/// Starts the MAC of a ticket: everything before its last 32 bytes.
fn mac(key: &TicketKey, content: &[u8]) -> Hmac<Sha256> {
    let mut mac = key.mac();
    mac.update(DOMAIN);
    mac.update(content);
    mac
}

/// Maps times before 1970 to 1970, when no ticket is valid.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// The fields that select version and key: the only bytes read before the MAC is verified.
pub(super) struct Head {
    version: u8,
    pub(super) key_id: u16,
}

impl Head {
    pub(super) fn read(content: &[u8]) -> Option<Self> {
        let (&[version, high, low], _) = content.split_first_chunk()?;
        let key_id = u16::from_be_bytes([high, low]);
        Some(Self { version, key_id })
    }

    /// Reads the expiry, which follows the head. Only for bytes whose MAC is verified.
    fn expires(content: &[u8]) -> Option<u64> {
        let [_, _, _, expires @ ..] = content.first_chunk::<11>()?;
        Some(u64::from_be_bytes(*expires))
    }
}

/// A parsed ticket without its MAC.
pub(super) struct Content {
    pub(super) nonce: Nonce,
    pub(super) terms: Terms,
    pub(super) sealed: SealedFields,
}

/// Serializes a ticket without its MAC.
///
/// `expires`, in seconds of Unix time, replaces the expiry of `terms`, which can have a fraction.
pub(super) fn write(
    key_id: u16,
    expires: u64,
    nonce: &Nonce,
    terms: &Terms,
    sealed: &SealedFields,
) -> Result<Vec<u8>, TermsError> {
    if terms.targets.len() > Terms::MAX_TARGETS {
        return Err(TermsError::TooManyTargets);
    }
    if terms.content_types.len() > Terms::MAX_CONTENT_TYPES {
        return Err(TermsError::TooManyContentTypes);
    }
    let mut out = Vec::with_capacity(length_hint(terms, sealed));
    out.push(VERSION);
    out.extend(key_id.to_be_bytes());
    out.extend(expires.to_be_bytes());
    out.extend(nonce.as_bytes());
    out.push(match terms.body_type {
        CallbackBodyType::Form => FORM,
        CallbackBodyType::Json => JSON,
    });
    out.push(u8::try_from(terms.targets.len()).map_err(|_| TermsError::TooManyTargets)?);
    for target in &terms.targets {
        out.extend(target.0);
    }
    let (kind, max_uses, name) = match &terms.scope {
        Scope::Exact(key) => (EXACT, 0, key.as_str()),
        Scope::Prefix { prefix, max_uses } => (PREFIX, max_uses.get(), prefix.as_str()),
    };
    out.push(kind);
    out.extend(max_uses.to_be_bytes());
    write_text(&mut out, terms.bucket.as_str())?;
    write_text(&mut out, name)?;
    out.extend(terms.sizes.min().to_be_bytes());
    out.extend(terms.sizes.max().to_be_bytes());
    let types = u8::try_from(terms.content_types.len());
    out.push(types.map_err(|_| TermsError::TooManyContentTypes)?);
    for content_type in &terms.content_types {
        write_text(&mut out, content_type.as_str())?;
    }
    write_text(&mut out, &terms.claims)?;
    write_text(&mut out, &terms.filename)?;
    let fields = u8::try_from(sealed.kind_bytes().len());
    out.push(fields.map_err(|_| TermsError::TooManyFields)?);
    out.extend(sealed.kind_bytes());
    out.extend(sealed.digest());
    Ok(out)
}

/// Returns about the length of the token with its MAC, so that writing it takes one allocation.
fn length_hint(terms: &Terms, sealed: &SealedFields) -> usize {
    let name = match &terms.scope {
        Scope::Exact(key) => key.as_str(),
        Scope::Prefix { prefix, .. } => prefix.as_str(),
    };
    let types = terms.content_types.iter().map(ContentType::as_str);
    let texts = [terms.bucket.as_str(), name, &terms.claims, &terms.filename];
    let texts = texts.into_iter().chain(types).map(|text| text.len() + 2);
    // Numbers, the digest of the sealed fields and the MAC take less than 160 bytes.
    160 + terms.targets.len() * size_of::<TargetDigest>()
        + texts.sum::<usize>()
        + sealed.kind_bytes().len()
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), TermsError> {
    let length = u16::try_from(text.len()).map_err(|_| TermsError::TooLong(text.len()))?;
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

/// Parses exactly what [`write()`] produces. Call it only on bytes whose MAC is verified.
///
/// Everything else is rejected, even if authentic: trailing bytes, a use count for an exact scope,
/// and values that their type would print differently.
pub(super) fn read(bytes: &[u8]) -> Option<Content> {
    let mut input = Reader(bytes);
    if input.array()? != [VERSION] {
        return None;
    }
    // The key id, which selected the key of the MAC.
    input.array::<2>()?;
    let expires = u64::from_be_bytes(input.array()?);
    let nonce = Nonce::from_bytes(input.array()?);
    let body_type = match input.array()? {
        [FORM] => CallbackBodyType::Form,
        [JSON] => CallbackBodyType::Json,
        _ => return None,
    };
    let targets = input.list(|input| input.array().map(TargetDigest))?;
    let ([kind], max_uses) = (input.array()?, u16::from_be_bytes(input.array()?));
    let bucket = input.parsed(Bucket::as_str)?;
    let scope = match (kind, NonZeroU16::new(max_uses)) {
        (EXACT, None) => Scope::Exact(input.parsed(ObjectKey::as_str)?),
        (PREFIX, Some(max_uses)) => Scope::Prefix {
            prefix: input.parsed(ObjectPrefix::as_str)?,
            max_uses,
        },
        // A prefix without uses, an object with a use count, or an unknown kind.
        _ => return None,
    };
    let min = u64::from_be_bytes(input.array()?);
    let sizes = SizeRange::new(min, u64::from_be_bytes(input.array()?)).ok()?;
    let content_types = input.list(|input| input.parsed(ContentType::as_str))?;
    let claims = input.text()?.into();
    let filename = input.text()?.into();
    let [count] = input.array()?;
    let kinds = input.bytes(usize::from(count))?.to_vec();
    let sealed = SealedFields::from_parts(kinds, input.array()?)?;
    if !input.0.is_empty() {
        return None;
    }
    let terms = Terms {
        bucket,
        scope,
        sizes,
        targets,
        expires: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expires))?,
        body_type,
        content_types,
        claims,
        filename,
    };
    Some(Content {
        nonce,
        terms,
        sealed,
    })
}

/// A cursor over the bytes that are left to parse.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        std::str::from_utf8(self.bytes(length)?).ok()
    }

    /// Parses a text in its canonical spelling: the one that the type itself has.
    fn parsed<T: FromStr>(&mut self, spelling: fn(&T) -> &str) -> Option<T> {
        let text = self.text()?;
        text.parse().ok().filter(|value| spelling(value) == text)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let [length] = self.array()?;
        let mut list = Vec::with_capacity(usize::from(length));
        for _ in 0..length {
            list.push(item(self)?);
        }
        Some(list)
    }
}
