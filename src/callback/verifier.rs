//! Verification without I/O.

use std::{str, sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use md5::{Digest as _, Md5};

use super::{
    body::Collected,
    config::{AcceptedTarget, VerifierConfig, rewrite},
    error::{CallbackError, CallbackErrorKind as Kind},
    event::{find_ticket, read_sealed},
    recovered::RecoveredUpload,
    text::{start_text, text_digest},
    verified::{Granted, Proven, Unauthenticated, VerifiedCallback},
};
use crate::{
    key::{KeyUrl, KeyUrlError, PublicKey},
    protocol::{
        CallbackBodyType, CallbackTarget, TargetError,
        header::{X_OSS_PUB_KEY_URL, X_OSS_SIGNATURE_VERSION},
    },
    ticket::{TicketError, Tickets, internal::CheckedTicket},
};

/// Verifies one callback. It performs no I/O, so it works in any server.
///
/// 1. [`check`](Self::check) validates the request head.
/// 2. [`update`](Self::update) receives the body.
/// 3. [`check_ticket`](Self::check_ticket) validates the ticket, if the [`VerifierConfig`] require
///    one.
/// 4. [`verify`](Self::verify) verifies the signature with the key from [`key_url`](Self::key_url).
///
/// The bytes that were hashed are the body of the [`VerifiedCallback`]:
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use tower_aliyun_oss::callback::{CallbackVerifier, VerifierConfig};
/// use tower_aliyun_oss::{Lookup, key::{KeySource, PinnedKeys}};
///
/// // The example of the Callback page of the OSS API reference, as printed until 2021.
/// let request = Request::post("/index.php?id=1&index=2")
///     .header("authorization", "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==")
///     .header("x-oss-pub-key-url", "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(())?;
/// let body = Bytes::from_static(b"bucket=yonghu-test");
/// let (parts, ()) = request.into_parts();
///
/// let mut verifier = CallbackVerifier::check(&parts, &VerifierConfig::new())?;
/// verifier.update(body)?;
/// let Lookup::Ready(key) = PinnedKeys::official().key(verifier.key_url()) else {
///     unreachable!("pinned keys are in memory")
/// };
/// let callback = verifier.verify(&key?)?;
/// assert_eq!(callback.target().as_str(), "/index.php?id=1&index=2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CallbackVerifier {
    signature: Signature,
    key_url: KeyUrl,
    content: Content,
}

/// What is verified: everything but the signature, or what stands in for it.
#[derive(Debug)]
pub(super) struct Content {
    target: CallbackTarget,
    /// The rule that makes the target ambiguous, if only a ticket can name it.
    needs_ticket: Option<TargetError>,
    body_type: CallbackBodyType,
    unauthenticated: Unauthenticated,
    announced: Option<u64>,
    limit: usize,
    body: Collected,
    state: VerifierState,
    /// Whether the ticket may have expired, because the request is a recovery.
    expiry_lifted: bool,
}

/// Whether a ticket is required is decided when the state is created. It is a state of its own, so
/// that `verify` cannot succeed while the check of a required ticket is missing.
#[derive(Debug)]
enum VerifierState {
    /// The signature suffices: no ticket is required, or this callback may lack one.
    SignatureOnly { text: Md5 },
    /// A ticket is required.
    WithTicket {
        /// Moved from here to the redemption: a clone in each step would write to a cache line that
        /// all threads share.
        tickets: Tickets,
        /// `None` until the ticket is checked. There is no hash: a body without a valid ticket is
        /// not worth hashing, and without a hash nothing can be verified.
        checked: Option<Checked>,
    },
}

/// A ticket that is valid for the target and the body type.
#[derive(Debug)]
struct Checked {
    text: Md5,
    ticket: Box<CheckedTicket>,
}

/// A verified callback, and how to redeem its ticket.
pub(super) struct Verified {
    pub(super) callback: VerifiedCallback,
    /// `None` if the signature suffices.
    pub(super) redeem: Option<(Tickets, Arc<Granted>)>,
}

/// A callback that is not verified, and what its diagnosis needs.
pub(super) struct Unverified {
    pub(super) error: CallbackError,
    pub(super) key_url: KeyUrl,
    pub(super) key: PublicKey,
}

impl CallbackVerifier {
    /// Validates everything that is known before the body, in this order: method, signature
    /// headers, signature version, target, `content-length`, content type.
    ///
    /// A target is accepted only in its [canonical](CallbackTarget) spelling, or exactly as
    /// configured, because the request cannot be changed; see
    /// [`check_rewriting`](Self::check_rewriting).
    ///
    /// # Errors
    ///
    /// Fails with the first check that does not pass.
    pub fn check(parts: &Parts, config: &VerifierConfig) -> Result<Self, CallbackError> {
        match Self::check_head(parts, config)? {
            (_, true) => Err(CallbackError::target(TargetError::Spelling)),
            (verifier, false) => Ok(verifier),
        }
    }

    /// Like [`check`](Self::check), and accepts equivalent spellings of the target as well: it
    /// replaces the path of the URI by the canonical one. Call it before anything reads the path,
    /// so that all spellings under one signature are one request. If an axum router has routed the
    /// request already, which its `OriginalUri` reveals, only the exact spelling is accepted.
    ///
    /// # Errors
    ///
    /// Fails with the first check that does not pass.
    pub fn check_rewriting(
        parts: &mut Parts,
        config: &VerifierConfig,
    ) -> Result<Self, CallbackError> {
        let (verifier, needs_rewrite) = Self::check_head(parts, config)?;
        if needs_rewrite {
            rewrite(parts, &verifier.content.target)?;
        }
        Ok(verifier)
    }

    /// Also returns whether the path of the request has to be replaced.
    fn check_head(parts: &Parts, config: &VerifierConfig) -> Result<(Self, bool), CallbackError> {
        // None of these checks needs the body, a key or the network, so that a request with a bad
        // head costs as little as possible.
        check_method(parts)?;
        let headers = &parts.headers;
        let signature = signature(headers)?;
        let key_url = key_url(required(headers, X_OSS_PUB_KEY_URL)?, config)?;
        check_version(headers)?;
        let (content, rewrite) = Content::check(parts, config)?;
        let verifier = Self {
            signature,
            key_url,
            content,
        };
        Ok((verifier, rewrite))
    }

    /// Adds a chunk of the body. A body that consists of one chunk is not copied.
    ///
    /// # Errors
    ///
    /// Fails if the body exceeds the limit.
    pub fn update(&mut self, chunk: Bytes) -> Result<(), CallbackError> {
        self.content.update(chunk)
    }

    /// Checks at the end of the body that its length equals `content-length`, if that header is
    /// present.
    ///
    /// # Errors
    ///
    /// Fails if the lengths differ.
    pub fn end_of_body(&self) -> Result<(), CallbackError> {
        self.content.end_of_body()
    }

    /// Checks the ticket in the body, if the [configuration](VerifierConfig::tickets) require one,
    /// and does nothing otherwise.
    ///
    /// Call it after the last chunk and before you look up the key, so that a request without a
    /// valid ticket costs neither a key lookup nor a signature check.
    ///
    /// # Errors
    ///
    /// Fails if the ticket is absent, not authentic, expired at the time `now`, or issued for a
    /// different target or body type. Fails if the length of the body differs from
    /// `content-length`.
    pub fn check_ticket(&mut self, now: SystemTime) -> Result<(), CallbackError> {
        self.content.check_ticket(now)
    }

    /// The URL of the key that the callback claims to be signed with.
    #[must_use]
    pub fn key_url(&self) -> &KeyUrl {
        &self.key_url
    }

    /// Verifies the signature over the target and the body, and returns the callback with that
    /// body.
    ///
    /// # Errors
    ///
    /// Fails if the signature does not verify with `key`, or if the length of the body differs from
    /// `content-length`. If a ticket is required, fails if [`check_ticket`](Self::check_ticket) did
    /// not succeed, or if the body is outside of what the ticket grants.
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedCallback, CallbackError> {
        match self.verify_redeemable(key.clone()) {
            Ok(verified) => Ok(verified.callback),
            Err(Unverified { error, .. }) => Err(error),
        }
    }

    fn verify_redeemable(self, key: PublicKey) -> Result<Verified, Unverified> {
        self.content.verify(&self.signature, self.key_url, key)
    }

    /// Splits what is verified from what proves it.
    pub(super) fn into_parts(self) -> (Content, Proof) {
        let proof = Proof::Signature {
            signature: self.signature,
            key_url: self.key_url,
        };
        (self.content, proof)
    }
}

/// What proves that a request is a callback of OSS.
pub(super) enum Proof {
    Signature {
        signature: Signature,
        key_url: KeyUrl,
    },
    /// This process made the request itself, see [`RecoveredUpload`].
    Recovery(RecoveredUpload),
}

impl Content {
    /// Checks the head but for what concerns the signature. Also returns whether the path of the
    /// request has to be replaced.
    fn check(parts: &Parts, config: &VerifierConfig) -> Result<(Self, bool), CallbackError> {
        let headers = &parts.headers;
        let AcceptedTarget {
            target,
            rewrite,
            needs_ticket,
        } = config.target(parts)?;
        let announced = announced_length(headers, config.limit())?;
        let body_type = body_type(headers, config)?;
        let state = match config.required_tickets() {
            Some(tickets) => VerifierState::WithTicket {
                tickets: tickets.clone(),
                checked: None,
            },
            None => VerifierState::SignatureOnly {
                text: start_text(&target),
            },
        };
        let content = Self {
            target,
            needs_ticket,
            body_type,
            unauthenticated: Unauthenticated::from_headers(headers),
            announced,
            limit: config.limit(),
            body: Collected::default(),
            state,
            expiry_lifted: false,
        };
        Ok((content, rewrite))
    }

    /// Checks the head of a request that this process made to recover an upload, as
    /// [`CallbackVerifier::check_rewriting`] does but for the signature. The configuration must
    /// require tickets.
    pub(super) fn check_recovered(
        parts: &mut Parts,
        config: &VerifierConfig,
    ) -> Result<Self, CallbackError> {
        check_method(parts)?;
        let (content, needs_rewrite) = Self::check(parts, config)?;
        if needs_rewrite {
            rewrite(parts, &content.target)?;
        }
        match content.state {
            VerifierState::WithTicket { .. } => Ok(Self {
                expiry_lifted: true,
                ..content
            }),
            // Without tickets, nothing but the signature proves anything.
            VerifierState::SignatureOnly { .. } => Err(Kind::TicketMissing.into()),
        }
    }

    pub(super) fn update(&mut self, chunk: Bytes) -> Result<(), CallbackError> {
        self.make_room(chunk.len())?;
        match &mut self.state {
            VerifierState::SignatureOnly { text }
            | VerifierState::WithTicket {
                checked: Some(Checked { text, .. }),
                ..
            } => text.update(&chunk),
            VerifierState::WithTicket { checked: None, .. } => {}
        }
        self.body.push(chunk);
        Ok(())
    }

    /// Fails if `more` bytes would exceed the limit.
    pub(super) fn make_room(&self, more: usize) -> Result<(), CallbackError> {
        match self.body.len().checked_add(more) {
            Some(length) if length <= self.limit => Ok(()),
            _ => Err(Kind::BodyTooLarge.into()),
        }
    }

    /// The body as received so far.
    pub(super) fn body(&mut self) -> Bytes {
        self.body.bytes()
    }

    pub(super) fn end_of_body(&self) -> Result<(), CallbackError> {
        end_of_body(&self.body, self.announced)
    }

    fn check_ticket(&mut self, now: SystemTime) -> Result<(), CallbackError> {
        let VerifierState::WithTicket {
            tickets,
            checked: checked @ None,
        } = &mut self.state
        else {
            return Ok(());
        };
        end_of_body(&self.body, self.announced)?;
        let body = self.body.as_slice();
        let found = find_ticket(self.body_type, body).and_then(|text| {
            let (keys, target) = (tickets.keys(), &self.target);
            if self.expiry_lifted {
                keys.check_expired(&text, target, self.body_type, now)
            } else {
                keys.check(&text, target, self.body_type, now)
            }
        });
        let ticket = match found {
            Ok(ticket) => Some(Box::new(ticket)),
            Err(TicketError::Absent) if tickets.can_be_absent(now) && !self.expiry_lifted => {
                // Nothing names this ambiguous target.
                if let Some(why) = self.needs_ticket.take() {
                    return Err(CallbackError::target(why));
                }
                None
            }
            Err(TicketError::Absent) => return Err(Kind::TicketMissing.into()),
            Err(why) => return Err(CallbackError::with_source(Kind::TicketInvalid, why)),
        };
        // Hashing starts only now that the ticket is valid.
        let mut text: Md5 = start_text(&self.target);
        text.update(body);
        match ticket {
            Some(ticket) => *checked = Some(Checked { text, ticket }),
            None => self.state = VerifierState::SignatureOnly { text },
        }
        Ok(())
    }

    /// [`check_ticket`](CallbackVerifier::check_ticket) with the clock of the [`Tickets`].
    pub(super) fn check_ticket_now(&mut self) -> Result<(), CallbackError> {
        match &self.state {
            VerifierState::WithTicket {
                tickets,
                checked: None,
            } => {
                let now = tickets.now();
                self.check_ticket(now)
            }
            VerifierState::SignatureOnly { .. } | VerifierState::WithTicket { .. } => Ok(()),
        }
    }

    /// Returns whether the ticket, which is not valid for the target of the callback, is for this
    /// one.
    pub(super) fn ticket_names(&mut self, target: &CallbackTarget) -> bool {
        let VerifierState::WithTicket { tickets, .. } = &self.state else {
            return false;
        };
        let (keys, now) = (tickets.keys(), tickets.now());
        let body = self.body.bytes();
        find_ticket(self.body_type, &body)
            .and_then(|text| keys.check(&text, target, self.body_type, now))
            .is_ok()
    }

    /// Verifies the signature, and the body against the ticket.
    pub(super) fn verify(
        self,
        signature: &Signature,
        key_url: KeyUrl,
        key: PublicKey,
    ) -> Result<Verified, Unverified> {
        let check = |digest: Md5, _: &[u8]| match key
            .verify_md5(&digest.finalize().into(), signature.as_bytes())
        {
            true => Ok(()),
            false => Err(Kind::SignatureMismatch.into()),
        };
        match self.redeem(check) {
            Ok(proven) => Ok(proven.verified(Proven::Signature { key_url, key })),
            Err(error) => Err(Unverified {
                error,
                key_url,
                key,
            }),
        }
    }

    /// Verifies that the request is the one that the recovery made, and its body against the
    /// ticket.
    pub(super) fn verify_recovered(
        self,
        upload: &RecoveredUpload,
    ) -> Result<Verified, CallbackError> {
        let target = self.target.clone();
        let proven = self.redeem(|_, body| {
            // A layer in between can have moved the extension to another request.
            if text_digest(&target, body) == upload.digest() {
                Ok(())
            } else {
                Err(Kind::SignatureMismatch.into())
            }
        })?;
        upload.set_arrived();
        let mut verified = proven.verified(Proven::Recovery(upload.clone()));
        verified.callback.confirmed = Some(Arc::clone(upload.found()));
        Ok(verified)
    }

    /// Checks the proof over target and body, and then the body against the ticket.
    fn redeem(
        self,
        check: impl FnOnce(Md5, &[u8]) -> Result<(), CallbackError>,
    ) -> Result<Redeemable, CallbackError> {
        self.end_of_body()?;
        let body = self.body.as_slice();
        let (text, with_ticket) = match self.state {
            VerifierState::SignatureOnly { text } => (text, None),
            VerifierState::WithTicket {
                tickets,
                checked: Some(Checked { text, ticket }),
            } => (text, Some((tickets, ticket))),
            // Fails closed if the ticket check was skipped.
            VerifierState::WithTicket { checked: None, .. } => {
                return Err(Kind::TicketMissing.into());
            }
        };
        check(text, body)?;
        let redeem = match with_ticket {
            Some((tickets, ticket)) => {
                let granted = granted(*ticket, &self.target, self.body_type, body)?;
                Some((tickets, Arc::new(granted)))
            }
            None => None,
        };
        Ok(Redeemable {
            target: self.target,
            body_type: self.body_type,
            unauthenticated: self.unauthenticated,
            body: self.body,
            redeem,
        })
    }
}

/// Content whose proof and ticket are checked.
struct Redeemable {
    target: CallbackTarget,
    body_type: CallbackBodyType,
    unauthenticated: Unauthenticated,
    body: Collected,
    redeem: Option<(Tickets, Arc<Granted>)>,
}

impl Redeemable {
    fn verified(mut self, proven: Proven) -> Verified {
        let callback = VerifiedCallback {
            body: self.body.take(),
            body_type: self.body_type,
            target: self.target,
            proven,
            unauthenticated: self.unauthenticated,
            granted: self.redeem.as_ref().map(|(_, granted)| Arc::clone(granted)),
            confirmed: None,
        };
        Verified {
            callback,
            redeem: self.redeem,
        }
    }
}

/// Checks that a signed body is within the grant of its ticket.
fn granted(
    ticket: CheckedTicket,
    target: &CallbackTarget,
    body_type: CallbackBodyType,
    body: &[u8],
) -> Result<Granted, CallbackError> {
    let upload = read_sealed(&ticket, body_type, body)
        .map_err(|why| CallbackError::with_source(Kind::OutsideGrant, why))?;
    Ok(Granted {
        ticket,
        digest: text_digest(target, body),
        upload,
    })
}

fn check_method(parts: &Parts) -> Result<(), CallbackError> {
    if parts.method == Method::POST {
        Ok(())
    } else {
        Err(Kind::MethodNotAllowed.into())
    }
}

fn end_of_body(body: &Collected, announced: Option<u64>) -> Result<(), CallbackError> {
    match announced {
        Some(announced) if u64::try_from(body.len()) != Ok(announced) => {
            Err(Kind::BodyIncomplete.into())
        }
        _ => Ok(()),
    }
}

/// The longest `authorization` that is decoded, in bytes: a signature of 4,096 bits has 684.
const MAX_SIGNATURE_LEN: usize = 1024;

/// A decoded signature. One of the published key has 64 bytes and needs no allocation.
#[derive(Debug)]
pub(super) enum Signature {
    Short([u8; 64]),
    Long(Box<[u8]>),
}

impl Signature {
    fn from_header(value: &HeaderValue) -> Result<Self, CallbackError> {
        // Too long for any key, so it cannot match, whether it is Base64 or not.
        if value.len() > MAX_SIGNATURE_LEN {
            return Err(Kind::SignatureMismatch.into());
        }
        let malformed = || CallbackError::with_header(Kind::InvalidHeader, AUTHORIZATION);
        let mut buffer = [0; MAX_SIGNATURE_LEN / 4 * 3];
        let len = STANDARD
            .decode_slice(value.as_bytes(), &mut buffer)
            .map_err(|_| malformed())?;
        match buffer.get(..len) {
            Some([]) | None => Err(malformed()),
            Some(bytes) => Ok(bytes
                .try_into()
                .map_or_else(|_| Self::Long(bytes.into()), Self::Short)),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

/// Reads the signature of a request by the rules of [`CallbackVerifier::check`].
pub(super) fn signature(headers: &HeaderMap) -> Result<Signature, CallbackError> {
    Signature::from_header(required(headers, AUTHORIZATION)?)
}

fn required(headers: &HeaderMap, name: HeaderName) -> Result<&HeaderValue, CallbackError> {
    match at_most_one(headers, &name)? {
        Some(value) => Ok(value),
        None => Err(CallbackError::with_header(Kind::MissingHeader, name)),
    }
}

/// Rejects repeated headers: a proxy may act on one value and this verifier on the other.
fn at_most_one<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h HeaderValue>, CallbackError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    match values.next() {
        Some(_) => Err(CallbackError::with_header(
            Kind::DuplicateHeader,
            name.clone(),
        )),
        None => Ok(value),
    }
}

fn key_url(value: &HeaderValue, config: &VerifierConfig) -> Result<KeyUrl, CallbackError> {
    KeyUrl::from_header(value.as_bytes(), config.table()).map_err(|why| match why {
        KeyUrlError::NotBase64 => {
            CallbackError::with_header(Kind::InvalidHeader, X_OSS_PUB_KEY_URL)
        }
        _ => CallbackError::with_source(Kind::KeyUrlRejected, why),
    })
}

fn check_version(headers: &HeaderMap) -> Result<(), CallbackError> {
    match at_most_one(headers, &X_OSS_SIGNATURE_VERSION)? {
        Some(version) if version != "1.0" => Err(Kind::UnsupportedSignatureVersion.into()),
        _ => Ok(()),
    }
}

fn announced_length(headers: &HeaderMap, limit: usize) -> Result<Option<u64>, CallbackError> {
    let Some(value) = at_most_one(headers, &CONTENT_LENGTH)? else {
        return Ok(None);
    };
    let malformed = || CallbackError::with_header(Kind::InvalidHeader, CONTENT_LENGTH);
    // `parse` alone accepts a leading plus sign, which RFC 9110 does not allow.
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let length: u64 = str::from_utf8(digits)
        .ok()
        .and_then(|n| n.parse().ok())
        .ok_or_else(malformed)?;
    match usize::try_from(length) {
        Ok(bytes) if bytes <= limit => Ok(Some(length)),
        _ => Err(Kind::BodyTooLarge.into()),
    }
}

fn body_type(
    headers: &HeaderMap,
    config: &VerifierConfig,
) -> Result<CallbackBodyType, CallbackError> {
    // A repeated content type is as unusable as an absent one: 415 rather than 400.
    let body_type = match at_most_one(headers, &CONTENT_TYPE) {
        Ok(Some(value)) => CallbackBodyType::from_header(value.as_bytes()),
        Ok(None) | Err(_) => None,
    };
    let body_type = body_type
        .filter(|&body_type| config.allows(body_type))
        .ok_or_else(|| CallbackError::from(Kind::UnsupportedContentType))?;
    // OSS signs the bytes that it sends. Decoding them would be needed to read them, and would let
    // the handler see other bytes than those that were verified.
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Kind::UnsupportedContentEncoding.into());
    }
    Ok(body_type)
}
