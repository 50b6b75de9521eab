//! The verification itself, without any input or output.

use std::{str, sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use md5::{Digest, Md5};

use super::{
    body::Collected,
    bond::Bond,
    error::{CallbackError, CallbackErrorKind as Kind},
    rules::Rules,
    signature::Signature,
    verified::{Unauthenticated, VerifiedCallback},
};
use crate::{
    key::{KeyUrl, KeyUrlError, PublicKey},
    protocol::{
        CallbackBodyType, CallbackTarget,
        header::{X_OSS_PUB_KEY_URL, X_OSS_SIGNATURE_VERSION},
    },
};

/// A callback whose head is in order: the first stage of a verification, waiting for the body and the key.
///
/// The stages do no input or output, so they work in any server. What was hashed is what is handed on:
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use tower_aliyun_oss::callback::{Preflight, Rules};
/// use tower_aliyun_oss::{Lookup, key::{KeySource, PinnedKeys}};
///
/// // The example of the Callback page of the OSS API reference, as it was printed until 2021.
/// let request = Request::post("/index.php?id=1&index=2")
///     .header("authorization", "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==")
///     .header("x-oss-pub-key-url", "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==")
///     .header("content-type", "application/x-www-form-urlencoded")
///     .body(())?;
/// let body = Bytes::from_static(b"bucket=yonghu-test");
/// let (parts, ()) = request.into_parts();
///
/// let mut preflight = Preflight::check(&parts, &Rules::new())?;
/// preflight.update(body)?;
/// let Lookup::Ready(key) = PinnedKeys::official().key(preflight.key_url()) else { unreachable!() };
/// let callback = preflight.verify(&key?)?;
/// assert_eq!(callback.target().as_str(), "/index.php?id=1&index=2");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Preflight {
    signature: Signature,
    key_url: KeyUrl,
    target: CallbackTarget,
    body_type: CallbackBodyType,
    unauthenticated: Unauthenticated,
    announced: Option<u64>,
    limit: usize,
    received: usize,
    body: Collected,
    text: Md5,
    bond: Bond,
}

impl Preflight {
    /// Checks everything that is known before the body: method, headers, signature version, target, announced
    /// length, content type, in this order.
    ///
    /// # Errors
    ///
    /// When one of them is not as the rules want it.
    pub fn check(parts: &Parts, rules: &Rules) -> Result<Self, CallbackError> {
        if parts.method != Method::POST {
            return Err(Kind::MethodNotAllowed.into());
        }
        let headers = &parts.headers;
        let signature = signature(headers)?;
        let key_url = key_url(required(headers, X_OSS_PUB_KEY_URL)?, rules)?;
        check_version(headers)?;
        let target = rules.target(parts)?;
        let announced = announced_length(headers, rules.limit())?;
        let body_type = body_type(headers, rules)?;

        let mut text = Md5::new();
        start_text(&mut text, &target);
        Ok(Self {
            signature,
            key_url,
            target,
            body_type,
            unauthenticated: Unauthenticated::from_headers(headers),
            announced,
            limit: rules.limit(),
            received: 0,
            body: Collected::default(),
            text,
            bond: Bond::new(rules),
        })
    }

    /// Takes the next piece of the body. A body that comes in one piece is not copied.
    ///
    /// # Errors
    ///
    /// When the body is now larger than the limit.
    pub fn update(&mut self, chunk: Bytes) -> Result<(), CallbackError> {
        self.make_room(chunk.len())?;
        self.received += chunk.len();
        // A body that bears no ticket is not worth hashing.
        if !self.bond.is_open() {
            self.text.update(&chunk);
        }
        self.body.push(chunk);
        Ok(())
    }

    /// Whether so many more bytes are within the limit.
    pub(super) fn make_room(&self, more: usize) -> Result<(), CallbackError> {
        match self.received.checked_add(more) {
            Some(received) if received <= self.limit => Ok(()),
            _ => Err(Kind::BodyTooLarge.into()),
        }
    }

    /// What has arrived of the body.
    pub(super) fn body(&mut self) -> Bytes {
        self.body.bytes()
    }

    /// Says that the body has ended.
    ///
    /// # Errors
    ///
    /// When it is not as long as `content-length` announced.
    pub fn end_of_body(&self) -> Result<(), CallbackError> {
        match self.announced {
            Some(announced) if u64::try_from(self.received) != Ok(announced) => {
                Err(Kind::BodyIncomplete.into())
            }
            _ => Ok(()),
        }
    }

    /// Checks the ticket in the body, when the [rules](Rules::tickets) ask for tickets; else it does nothing. To be called
    /// when the body has ended, and before the key is got: what fails here has cost no more than the sender paid.
    ///
    /// # Errors
    ///
    /// When there is no ticket, it is not one of ours, has expired `now`, or is for another target or body type; or when
    /// the body is not as long as announced.
    pub fn check_ticket(&mut self, now: SystemTime) -> Result<(), CallbackError> {
        if !self.bond.is_open() {
            return Ok(());
        }
        self.end_of_body()?;
        let body = self.body.bytes();
        self.bond
            .check_ticket(&body, self.body_type, &self.target, now)?;
        self.text.update(&body);
        Ok(())
    }

    /// The key the callback says it was signed with.
    #[must_use]
    pub fn key_url(&self) -> &KeyUrl {
        &self.key_url
    }

    /// Checks the signature over the target and all that [`update`](Self::update) was given, which is handed on as the
    /// body of the callback.
    ///
    /// # Errors
    ///
    /// When the signature was not made for them with this key, or the body is not as long as announced. When tickets
    /// are asked for: when [`check_ticket`](Self::check_ticket) has not found one, or the body says something else than
    /// the ticket grants.
    pub fn verify(mut self, key: &PublicKey) -> Result<VerifiedCallback, CallbackError> {
        self.end_of_body()?;
        if !key.verify_md5(&self.text.finalize().into(), self.signature.as_bytes()) {
            return Err(Kind::SignatureMismatch.into());
        }
        let body = self.body.bytes();
        let granted = self.bond.settle(self.body_type, &body, |text| {
            start_text(text, &self.target);
            text.update(&body);
        })?;
        Ok(VerifiedCallback::new(
            body,
            self.body_type,
            self.target,
            self.key_url,
            key.clone(),
            self.unauthenticated,
            granted.map(Arc::new),
        ))
    }
}

/// What stands before the body in the signed text.
fn start_text(text: &mut impl Digest, target: &CallbackTarget) {
    let (path, query) = target.signed_parts();
    text.update(path);
    text.update(query);
    text.update(b"\n");
}

fn required(headers: &HeaderMap, name: HeaderName) -> Result<&HeaderValue, CallbackError> {
    match at_most_one(headers, &name)? {
        Some(value) => Ok(value),
        None => Err(CallbackError::with_header(Kind::MissingHeader, name)),
    }
}

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

/// The signature of a request, by the rules that [`Preflight`] has for it.
pub(super) fn signature(headers: &HeaderMap) -> Result<Signature, CallbackError> {
    Signature::from_header(required(headers, AUTHORIZATION)?)
}

fn key_url(value: &HeaderValue, rules: &Rules) -> Result<KeyUrl, CallbackError> {
    KeyUrl::from_header(value.as_bytes(), rules.table()).map_err(|why| match why {
        KeyUrlError::NotBase64 => {
            CallbackError::with_header(Kind::InvalidHeader, X_OSS_PUB_KEY_URL)
        }
        KeyUrlError::TooLong | KeyUrlError::NotAllowed => {
            CallbackError::with_source(Kind::KeyUrlRejected, why)
        }
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
    // `parse` alone would take a leading plus sign.
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

fn body_type(headers: &HeaderMap, rules: &Rules) -> Result<CallbackBodyType, CallbackError> {
    let body_type = match at_most_one(headers, &CONTENT_TYPE) {
        Ok(Some(value)) => CallbackBodyType::from_header(value.as_bytes()),
        Ok(None) | Err(_) => None,
    };
    let body_type = body_type
        .filter(|&body_type| rules.allows(body_type))
        .ok_or_else(|| CallbackError::from(Kind::UnsupportedContentType))?;
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Kind::UnsupportedContentEncoding.into());
    }
    Ok(body_type)
}
