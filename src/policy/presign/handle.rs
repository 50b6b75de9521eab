//! The upload handle: what was granted, sealed, so that the service keeps nothing.
//!
//! A handle is a [sealed text](crate::ticket) of at most [`MAX_HANDLE_LEN`] characters. Its content
//! is binary, and every value has one spelling:
//!
//! | field | bytes |
//! |---|---|
//! | version, 1 | 1 |
//! | audience: the first half of the SHA-256 of bucket, callback targets and body type | 16 |
//! | expiry, in seconds of Unix time | 8 |
//! | nonce of the ticket | 16 |
//! | flags: overwrite, without callback | 1 |
//! | ACL | 1 |
//! | smallest and largest size | 8 + 8 |
//! | part size, or 0 if the client chooses the parts | 8 |
//! | object key, content type, claims as JSON, requested file name | 2 + length each |
//! | custom variables: count, then name and value of each | 1 + (2 + length) each |
//! | headers of the object: count, then name and value of each | 1 + (2 + length) each |
//!
//! Integers are big-endian. Nothing is encrypted: the client can read a handle.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use super::plan::Plan;
use crate::{
    policy::error::PolicyError,
    protocol::{ContentType, ObjectAcl, ObjectKey, SizeRange},
    ticket::{Domain, TicketKeys, store::Nonce},
};

/// The longest handle, in characters.
pub(super) const MAX_HANDLE_LEN: usize = 8192;

const DOMAIN: Domain = Domain("oss-up-v1");
const VERSION: u8 = 1;

const OVERWRITE: u8 = 1;
const WITHOUT_CALLBACK: u8 = 2;

pub(super) type Pairs = Vec<(Box<str>, Box<str>)>;

/// What a handle is for: it is of no use to a service with another bucket or callback.
pub(super) type Audience = [u8; 16];

/// One granted upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Upload {
    /// In seconds of Unix time.
    pub(super) expires: u64,
    pub(super) nonce: Nonce,
    pub(super) overwrite: bool,
    pub(super) without_callback: bool,
    pub(super) acl: ObjectAcl,
    pub(super) sizes: SizeRange,
    /// `None` if the client chooses the parts.
    pub(super) part_size: Option<u64>,
    pub(super) key: ObjectKey,
    pub(super) content_type: ContentType,
    pub(super) claims: Option<Box<str>>,
    pub(super) filename: Option<Box<str>>,
    pub(super) variables: Pairs,
    /// Headers that are stored with the object, with lower-case names.
    pub(super) headers: Pairs,
}

/// Why a handle is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HandleError {
    /// It is not authentic, or cannot be read.
    Invalid,
    /// It is of a service with another bucket or callback.
    Audience,
    Expired,
}

impl Upload {
    /// Returns the size, if there is only one.
    pub(super) fn size(&self) -> Option<u64> {
        (self.sizes.min() == self.sizes.max()).then_some(self.sizes.max())
    }

    /// Returns when the handle expires.
    pub(super) fn expires_at(&self) -> Result<SystemTime, PolicyError> {
        let expires = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.expires));
        expires.ok_or(PolicyError::Clock)
    }

    pub(super) fn plan(&self) -> Plan {
        match (self.size(), self.part_size) {
            (Some(size), Some(part)) => Plan::Parts { size, part },
            _ => Plan::AnyParts {
                max: self.sizes.max(),
            },
        }
    }

    /// Returns the handle.
    pub(super) fn seal(
        &self,
        keys: &TicketKeys,
        audience: &Audience,
    ) -> Result<String, PolicyError> {
        let mut out = Vec::with_capacity(256);
        out.push(VERSION);
        out.extend(audience);
        out.extend(self.expires.to_be_bytes());
        out.extend(self.nonce.as_bytes());
        let flag = |set, bit| if set { bit } else { 0 };
        out.push(flag(self.overwrite, OVERWRITE) | flag(self.without_callback, WITHOUT_CALLBACK));
        out.push(acl_byte(self.acl));
        out.extend(self.sizes.min().to_be_bytes());
        out.extend(self.sizes.max().to_be_bytes());
        out.extend(self.part_size.unwrap_or_default().to_be_bytes());
        let texts = [
            self.key.as_str(),
            self.content_type.as_str(),
            self.claims.as_deref().unwrap_or_default(),
            self.filename.as_deref().unwrap_or_default(),
        ];
        for text in texts {
            write_text(&mut out, text)?;
        }
        for pairs in [&self.variables, &self.headers] {
            let count = u8::try_from(pairs.len());
            out.push(count.map_err(|_| PolicyError::HandleEntries(pairs.len()))?);
            for (name, value) in pairs {
                write_text(&mut out, name)?;
                write_text(&mut out, value)?;
            }
        }
        let handle = keys.seal(DOMAIN, &out);
        if handle.len() > MAX_HANDLE_LEN {
            return Err(PolicyError::HandleTooLong(handle.len()));
        }
        Ok(handle)
    }

    /// Opens a handle. `now` is in seconds of Unix time.
    pub(super) fn open(
        handle: &str,
        keys: &TicketKeys,
        audience: &Audience,
        now: u64,
    ) -> Result<Self, HandleError> {
        let content = keys.open(DOMAIN, handle, MAX_HANDLE_LEN);
        // It can still be unreadable if a later release issued another layout.
        let (of, upload) = content
            .as_deref()
            .and_then(read)
            .ok_or(HandleError::Invalid)?;
        if of != *audience {
            return Err(HandleError::Audience);
        }
        if upload.expires <= now {
            return Err(HandleError::Expired);
        }
        Ok(upload)
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), PolicyError> {
    let length = u16::try_from(text.len());
    let length = length.map_err(|_| PolicyError::HandleTooLong(text.len()))?;
    out.extend(length.to_be_bytes());
    out.extend(text.as_bytes());
    Ok(())
}

const ACLS: [ObjectAcl; 3] = [ObjectAcl::Private, ObjectAcl::PublicRead, ObjectAcl::Bucket];

fn acl_byte(acl: ObjectAcl) -> u8 {
    // At most two.
    ACLS.iter().position(|one| *one == acl).unwrap_or_default() as u8
}

/// Parses exactly what [`Upload::seal`] writes. Call it only on authentic bytes.
fn read(content: &[u8]) -> Option<(Audience, Upload)> {
    let mut input = Reader(content);
    if input.array()? != [VERSION] {
        return None;
    }
    let audience = input.array()?;
    let expires = input.number()?;
    let nonce = Nonce::from_bytes(input.array()?);
    let [flags, acl] = input.array()?;
    if flags & !(OVERWRITE | WITHOUT_CALLBACK) != 0 {
        return None;
    }
    let sizes = SizeRange::new(input.number()?, input.number()?).ok()?;
    let part_size = Some(input.number()?).filter(|size| *size > 0);
    let upload = Upload {
        expires,
        nonce,
        overwrite: flags & OVERWRITE != 0,
        without_callback: flags & WITHOUT_CALLBACK != 0,
        acl: *ACLS.get(usize::from(acl))?,
        sizes,
        part_size: part_size.map(Plan::check).transpose().ok()?,
        key: input.parsed(ObjectKey::as_str)?,
        content_type: input.parsed(ContentType::as_str)?,
        claims: input.optional()?,
        filename: input.optional()?,
        variables: input.pairs()?,
        headers: input.pairs()?,
    };
    input.0.is_empty().then_some((audience, upload))
}

/// A cursor over the bytes that are left to parse.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::from(u16::from_be_bytes(self.array()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    fn optional(&mut self) -> Option<Option<Box<str>>> {
        let text = self.text()?;
        Some((!text.is_empty()).then(|| text.into()))
    }

    /// Parses a text in its canonical spelling: the one that the type itself has.
    fn parsed<T: FromStr>(&mut self, spelling: fn(&T) -> &str) -> Option<T> {
        let text = self.text()?;
        text.parse().ok().filter(|value| spelling(value) == text)
    }

    fn pairs(&mut self) -> Option<Pairs> {
        let [count] = self.array()?;
        let mut pairs = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            pairs.push((self.text()?.into(), self.text()?.into()));
        }
        Some(pairs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ticket::TicketKey;

    const AUDIENCE: Audience = [7; 16];

    fn keys() -> TicketKeys {
        TicketKeys::new(
            1,
            TicketKey::from_bytes(&std::array::from_fn::<_, 32, _>(|n| n as u8)).unwrap(),
        )
    }

    fn upload() -> Upload {
        Upload {
            expires: 2_000,
            nonce: Nonce::from_bytes([3; 16]),
            overwrite: false,
            without_callback: false,
            acl: ObjectAcl::Private,
            sizes: SizeRange::new(80 << 30, 80 << 30).unwrap(),
            part_size: Some(9 << 20),
            key: "video/7/a.mp4".parse().unwrap(),
            content_type: ContentType::MP4,
            claims: Some("7".into()),
            filename: Some("holiday.mp4".into()),
            variables: vec![("x:a".into(), "1".into())],
            headers: vec![("cache-control".into(), "no-cache".into())],
        }
    }

    #[test]
    fn a_handle_is_read_as_it_was_written() {
        let keys = keys();
        let other = Upload {
            overwrite: true,
            without_callback: true,
            acl: ObjectAcl::Bucket,
            sizes: SizeRange::new(0, 5).unwrap(),
            part_size: None,
            claims: None,
            filename: None,
            variables: Vec::new(),
            headers: Vec::new(),
            ..upload()
        };
        for upload in [upload(), other] {
            let handle = upload.seal(&keys, &AUDIENCE).unwrap();
            assert_eq!(Upload::open(&handle, &keys, &AUDIENCE, 1_999), Ok(upload));
            assert_eq!(
                Upload::open(&handle, &keys, &AUDIENCE, 2_000),
                Err(HandleError::Expired)
            );
            assert_eq!(
                Upload::open(&handle, &keys, &[8; 16], 0),
                Err(HandleError::Audience)
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let long = Upload {
            variables: vec![("x:a".into(), "v".repeat(7000).into())],
            ..upload()
        };
        let error = long.seal(&keys(), &AUDIENCE).unwrap_err();
        assert!(matches!(error, PolicyError::HandleTooLong(_)), "{error}");
        let longer = Upload {
            variables: vec![("x:a".into(), "v".repeat(70_000).into())],
            ..upload()
        };
        let error = longer.seal(&keys(), &AUDIENCE).unwrap_err();
        assert!(matches!(error, PolicyError::HandleTooLong(_)), "{error}");
    }

    #[test]
    fn more_variables_than_a_handle_contains_are_an_error() {
        let variables = |count| (0..count).map(|n| (format!("x:{n}").into(), "".into()));
        let many = Upload {
            variables: variables(256).collect(),
            ..upload()
        };
        let error = many.seal(&keys(), &AUDIENCE).unwrap_err();
        assert!(matches!(error, PolicyError::HandleEntries(256)), "{error}");
        let most = Upload {
            variables: variables(255).collect(),
            ..upload()
        };
        assert!(most.seal(&keys(), &AUDIENCE).is_ok());
    }

    #[test]
    fn a_ticket_is_no_handle() {
        let keys = keys();
        let text = keys.seal(Domain("oss-cb-v1"), &[VERSION; 100]);
        assert_eq!(
            Upload::open(&text, &keys, &AUDIENCE, 0),
            Err(HandleError::Invalid)
        );
    }

    proptest! {
        /// Whatever is authentic is read without a panic, and written back to the same bytes.
        #[test]
        fn every_content_has_one_spelling(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in 0..400_usize,
            value: u8,
        ) {
            let keys = keys();
            let text = upload().seal(&keys, &AUDIENCE).unwrap();
            let mut changed = keys.open(DOMAIN, &text, MAX_HANDLE_LEN).unwrap();
            let at = at % changed.len();
            changed[at] = value;
            bytes.insert(0, VERSION);
            for content in [changed, bytes] {
                if let Some((audience, upload)) = read(&content) {
                    let again = upload.seal(&keys, &audience).unwrap();
                    prop_assert_eq!(keys.open(DOMAIN, &again, MAX_HANDLE_LEN).unwrap(), content);
                }
            }
        }
    }
}
