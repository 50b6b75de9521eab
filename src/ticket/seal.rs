//! Making a ticket, and telling whether one is ours.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    checked::CheckedTicket,
    codec::{self, Head, MAX_BYTES, MAX_TICKET_LEN},
    error::TicketError,
    key::{TicketKey, TicketKeys},
    nonce::Nonce,
    terms::{TargetDigest, Terms, TermsError},
};
use crate::protocol::{CallbackBodyType, CallbackTarget};

/// How far the clocks of two instances may be apart: a ticket is taken for 60 s more than it says.
pub const SKEW: Duration = Duration::from_secs(60);

/// The longest a ticket lives: the seven days of the longest policy, and a day for the upload.
pub const MAX_LIFETIME: Duration = Duration::from_secs(8 * 24 * 60 * 60);

/// What this seal is for, so that the key can serve nothing else by accident.
/// With its length before it, like every text in a ticket.
const DOMAIN: &[u8] = b"\x00\x09oss-cb-v1";

const MAC_LEN: usize = 32;

impl TicketKeys {
    /// A ticket for `terms`, sealed with the newest key. `nonce` must be new.
    ///
    /// # Errors
    ///
    /// When the terms expire at `now` or before, or later than [`MAX_LIFETIME`] from now, or are too many or too long
    /// for [`MAX_TICKET_LEN`].
    pub fn mint(&self, terms: &Terms, now: SystemTime, nonce: Nonce) -> Result<String, TermsError> {
        if terms.targets.len() > Terms::MAX_TARGETS {
            return Err(TermsError::TooManyTargets);
        }
        if terms.content_types.len() > Terms::MAX_CONTENT_TYPES {
            return Err(TermsError::TooManyContentTypes);
        }
        let (expires, now) = (since_epoch(terms.expires).as_secs(), since_epoch(now));
        match Duration::from_secs(expires).checked_sub(now) {
            None | Some(Duration::ZERO) => return Err(TermsError::Expired),
            Some(lifetime) if lifetime > MAX_LIFETIME => return Err(TermsError::TooFar),
            Some(_) => {}
        }
        let mut bytes = codec::write(self.newest_id(), expires, &nonce, terms)
            .ok_or(TermsError::TooLong(usize::MAX))?;
        let seal = seal(self.newest(), &bytes).map(|seal| seal.finalize().into_bytes());
        bytes.extend(seal.ok_or(TermsError::TooLong(usize::MAX))?);
        let text = URL_SAFE_NO_PAD.encode(bytes);
        if text.len() > MAX_TICKET_LEN {
            return Err(TermsError::TooLong(text.len()));
        }
        Ok(text)
    }

    /// Whether `text` is a ticket of ours for this target and body type that has not expired. Its seal is compared in
    /// constant time and before anything but its version and the id of its key is read. What is refused costs no
    /// allocation.
    ///
    /// # Errors
    ///
    /// When it is not; the error says why.
    pub fn check(
        &self,
        text: &str,
        target: &CallbackTarget,
        body_type: CallbackBodyType,
        now: SystemTime,
    ) -> Result<CheckedTicket, TicketError> {
        if text.is_empty() {
            return Err(TicketError::Absent);
        }
        if text.len() > MAX_TICKET_LEN {
            return Err(TicketError::Malformed);
        }
        let mut buffer = [0; MAX_BYTES];
        let length = URL_SAFE_NO_PAD
            .decode_slice(text, &mut buffer)
            .map_err(|_| TicketError::Malformed)?;
        let (content, mac) = buffer
            .get(..length)
            .and_then(|sealed| sealed.split_last_chunk::<MAC_LEN>())
            .ok_or(TicketError::Malformed)?;
        let head = Head::read(content).ok_or(TicketError::Malformed)?;
        if head.version != codec::VERSION {
            return Err(TicketError::UnknownVersion);
        }
        let key = self.key(head.key_id).ok_or(TicketError::UnknownKey)?;
        seal(key, content)
            .and_then(|seal| seal.verify_slice(mac).ok())
            .ok_or(TicketError::Mac)?;

        let content = codec::read(content).ok_or(TicketError::Malformed)?;
        let (expires, now) = (Duration::from_secs(content.expires), since_epoch(now));
        if now.saturating_sub(expires) > SKEW {
            return Err(TicketError::Expired);
        }
        if expires.saturating_sub(now) > MAX_LIFETIME + SKEW {
            return Err(TicketError::TooFar);
        }
        if !content.terms.targets.contains(&TargetDigest::of(target)) {
            return Err(TicketError::Target);
        }
        if content.terms.body_type != body_type {
            return Err(TicketError::BodyType);
        }
        Ok(CheckedTicket::new(content.nonce, content.terms))
    }
}

/// `None` never: HMAC takes a key of any length.
fn seal(key: &TicketKey, content: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
    mac.update(DOMAIN);
    mac.update(content);
    Some(mac)
}

/// A time before 1970 counts as its first moment, at which no ticket is valid.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
