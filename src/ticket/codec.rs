//! The bytes of a ticket. Distinct terms have distinct bytes: every field has a fixed length or says its own.

use std::{
    num::NonZeroU16,
    str::FromStr,
    time::{Duration, SystemTime},
};

use super::{
    nonce::Nonce,
    terms::{Scope, TargetDigest, Terms},
};
use crate::protocol::{CallbackBodyType, SizeRange};

/// The longest ticket, in characters. OSS takes 5,120 characters of Base64, 3,840 bytes of JSON, for a whole
/// callback: this leaves 768 for its URL and the rest of its body.
pub const MAX_TICKET_LEN: usize = 3072;

/// The bytes that the longest ticket decodes to.
pub(super) const MAX_BYTES: usize = MAX_TICKET_LEN / 4 * 3;

pub(super) const VERSION: u8 = 1;

const EXACT: u8 = 0;
const PREFIX: u8 = 1;

const FORM: u8 = 0;
const JSON: u8 = 1;

/// What says how the rest is to be read; the only bytes that are looked at before the seal.
pub(super) struct Head {
    pub(super) version: u8,
    pub(super) key_id: u16,
}

impl Head {
    pub(super) fn read(sealed: &[u8]) -> Option<Self> {
        let (&[version, high, low], _) = sealed.split_first_chunk()?;
        let key_id = u16::from_be_bytes([high, low]);
        Some(Self { version, key_id })
    }
}

/// A ticket without its seal.
pub(super) struct Content {
    pub(super) expires: u64,
    pub(super) nonce: Nonce,
    pub(super) terms: Terms,
}

/// `expires` stands in place of the one in `terms`, which may have a fraction.
///
/// `None` when a field is too long to say its length; with the limits of [`Terms`] that is never so.
pub(super) fn write(key_id: u16, expires: u64, nonce: &Nonce, terms: &Terms) -> Option<Vec<u8>> {
    let mut out = vec![VERSION];
    out.extend(key_id.to_be_bytes());
    out.extend(expires.to_be_bytes());
    out.extend(nonce.as_bytes());
    out.push(match terms.body_type {
        CallbackBodyType::Form => FORM,
        CallbackBodyType::Json => JSON,
    });
    out.push(u8::try_from(terms.targets.len()).ok()?);
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
    out.push(u8::try_from(terms.content_types.len()).ok()?);
    for content_type in &terms.content_types {
        write_text(&mut out, content_type.as_str())?;
    }
    write_text(&mut out, &terms.claims)?;
    Some(out)
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Option<()> {
    out.extend(u16::try_from(text.len()).ok()?.to_be_bytes());
    out.extend(text.as_bytes());
    Some(())
}

/// Reads what [`write()`] has written, and nothing else. Only for bytes whose seal has been checked.
pub(super) fn read(bytes: &[u8]) -> Option<Content> {
    let mut input = Reader(bytes);
    if input.array()? != [VERSION] {
        return None;
    }
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
    let bucket = input.parsed()?;
    let scope = match (kind, NonZeroU16::new(max_uses)) {
        (EXACT, None) => Scope::Exact(input.parsed()?),
        (PREFIX, Some(max_uses)) => Scope::Prefix {
            prefix: input.parsed()?,
            max_uses,
        },
        _ => return None,
    };
    let min = u64::from_be_bytes(input.array()?);
    let sizes = SizeRange::new(min, u64::from_be_bytes(input.array()?)).ok()?;
    let content_types = input.list(Reader::parsed)?;
    let claims = input.text()?.into();
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
    };
    Some(Content {
        expires,
        nonce,
        terms,
    })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// A text that is spelled as the type itself spells it.
    fn parsed<T: FromStr + ToString>(&mut self) -> Option<T> {
        let text = self.text()?;
        text.parse()
            .ok()
            .filter(|value: &T| value.to_string() == text)
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let [length] = self.array()?;
        (0..length).map(|_| item(self)).collect()
    }
}
