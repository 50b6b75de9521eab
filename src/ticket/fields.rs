//! What a ticket seals of the callback body: its fields, in the order of the template.
//!
//! Anyone can have OSS sign a body of their choice, so a field proves nothing by being signed. The
//! ticket records which field carries which variable, and a digest of everything that the grant
//! determines: the names, the constants, and the values of the custom variables. The layer accepts
//! a body only if its fields are exactly these.
//!
//! The template itself is not part of the ticket. The ticket is already part of the template, and
//! both are Base64-encoded again for the form, within the 5 KiB that OSS accepts.

use sha2::{Digest as _, Sha256};

use super::key::Nonce;
use crate::protocol::SystemVariable;

/// The kind bytes of fields that are not system variables, whose kinds are below.
const CUSTOM: u8 = 0x80;
const CONSTANT: u8 = 0x81;
const TICKET: u8 = 0x82;

/// The most fields of a body: their count is one byte. OSS accepts 5 KiB for the whole callback.
pub(super) const MAX_FIELDS: usize = 255;

/// A field of a callback body: in the template when a ticket is issued, and as OSS sent it when the
/// ticket is checked.
#[derive(Clone, Copy, Debug)]
pub struct BodyField<'a> {
    name: &'a str,
    value: FieldValue<'a>,
}

impl<'a> BodyField<'a> {
    /// Creates a field with its name as it is written in the template.
    #[must_use]
    pub const fn new(name: &'a str, value: FieldValue<'a>) -> Self {
        Self { name, value }
    }
}

/// The value of a [`BodyField`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// A variable of OSS. Its value is not sealed; the grant limits some of them.
    System(SystemVariable),
    /// A custom variable with its decoded value.
    Custom(&'a str),
    /// A constant, as it is written in the template: percent-encoded, or a JSON string with quotes.
    Constant(&'a [u8]),
    /// The ticket itself.
    Ticket,
}

/// Which kind of value a sealed field has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FieldKind {
    System(SystemVariable),
    Custom,
    Constant,
    Ticket,
}

impl FieldKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            CUSTOM => Self::Custom,
            CONSTANT => Self::Constant,
            TICKET => Self::Ticket,
            index => Self::System(*SystemVariable::ALL.get(usize::from(index))?),
        })
    }
}

impl FieldValue<'_> {
    const fn kind(self) -> u8 {
        match self {
            // The order of the variants is part of the format: a test pins it down.
            Self::System(variable) => variable as u8,
            Self::Custom(_) => CUSTOM,
            Self::Constant(_) => CONSTANT,
            Self::Ticket => TICKET,
        }
    }
}

/// The fields that a ticket seals.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct SealedFields {
    /// One byte per field, in the order of the template.
    kinds: Vec<u8>,
    digest: [u8; Self::DIGEST_LEN],
}

impl SealedFields {
    /// Half of a SHA-256. A forger needs a second preimage: the nonce, which is drawn after the
    /// values are known, is part of the text, so that no collision can be prepared.
    pub(super) const DIGEST_LEN: usize = 16;

    /// Seals the fields of a template. `None` if there are more than [`MAX_FIELDS`].
    pub(super) fn of<'a>(
        fields: impl IntoIterator<Item = BodyField<'a>>,
        nonce: &Nonce,
    ) -> Option<Self> {
        let mut kinds = Vec::new();
        let mut digest = FieldDigest::default();
        for field in fields {
            kinds.push(field.value.kind());
            digest.add(field);
        }
        let digest = digest.finish(nonce);
        (kinds.len() <= MAX_FIELDS).then_some(Self { kinds, digest })
    }

    /// Restores what [`kind_bytes`](Self::kind_bytes) and [`digest`](Self::digest) returned. `None`
    /// if a kind is unknown.
    pub(super) fn from_parts(kinds: Vec<u8>, digest: [u8; Self::DIGEST_LEN]) -> Option<Self> {
        let known = kinds
            .iter()
            .all(|kind| FieldKind::from_byte(*kind).is_some());
        known.then_some(Self { kinds, digest })
    }

    pub(super) fn kind_bytes(&self) -> &[u8] {
        &self.kinds
    }

    pub(super) const fn digest(&self) -> &[u8; Self::DIGEST_LEN] {
        &self.digest
    }

    /// Returns the kinds of the fields, in the order of the body.
    pub(super) fn kinds(&self) -> impl Iterator<Item = FieldKind> + '_ {
        // `of` and `from_parts` let no other byte in. If one got in, the list would end early and
        // match no body.
        self.kinds
            .iter()
            .map_while(|kind| FieldKind::from_byte(*kind))
    }

    /// Returns whether the fields of a body have the sealed names, kinds and values.
    ///
    /// Not in constant time: the digest is authentic, and the fields are public.
    pub(super) fn are(&self, fields: FieldDigest, nonce: &Nonce) -> bool {
        fields.finish(nonce) == self.digest
    }
}

/// The digest of the fields of a body, in their order.
///
/// Every field starts with its kind, which determines how many texts follow, and every text has its
/// length in front, so that no two lists of fields have the same text.
#[derive(Default)]
pub(crate) struct FieldDigest(Sha256);

impl FieldDigest {
    pub(crate) fn add(&mut self, field: BodyField<'_>) {
        self.0.update([field.value.kind()]);
        self.text(field.name.as_bytes());
        match field.value {
            FieldValue::Custom(value) => self.text(value.as_bytes()),
            FieldValue::Constant(written) => self.text(written),
            // OSS determines the one, and the other contains this digest.
            FieldValue::System(_) | FieldValue::Ticket => {}
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn finish(mut self, nonce: &Nonce) -> [u8; SealedFields::DIGEST_LEN] {
        self.0.update(nonce.as_bytes());
        let digest: [u8; 32] = self.0.finalize().into();
        let mut half = [0; SealedFields::DIGEST_LEN];
        half.copy_from_slice(&digest[..SealedFields::DIGEST_LEN]);
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = Nonce::from_bytes([7; 16]);

    fn field<'a>(name: &'a str, value: FieldValue<'a>) -> BodyField<'a> {
        BodyField::new(name, value)
    }

    fn seal(fields: &[BodyField<'_>]) -> SealedFields {
        SealedFields::of(fields.iter().copied(), &NONCE).unwrap()
    }

    fn matches<'a>(
        sealed: &SealedFields,
        fields: impl IntoIterator<Item = BodyField<'a>>,
        nonce: Nonce,
    ) -> bool {
        let mut digest = FieldDigest::default();
        fields.into_iter().for_each(|field| digest.add(field));
        sealed.are(digest, &nonce)
    }

    #[test]
    fn the_kinds_of_system_variables_are_part_of_the_format() {
        let names = SystemVariable::ALL.map(SystemVariable::name);
        assert_eq!(
            names,
            [
                "bucket",
                "object",
                "etag",
                "size",
                "mimeType",
                "imageInfo.height",
                "imageInfo.width",
                "imageInfo.format",
                "crc64",
                "contentMd5",
                "vpcId",
                "clientIp",
                "reqId",
                "operation",
            ]
        );
        for (at, variable) in (0..).zip(SystemVariable::ALL) {
            assert_eq!(FieldValue::System(variable).kind(), at);
            assert_eq!(variable as usize, usize::from(at));
            let kind = FieldKind::from_byte(at);
            assert_eq!(kind, Some(FieldKind::System(variable)));
        }
        assert_eq!(FieldKind::from_byte(14), None);
        assert_eq!(FieldKind::from_byte(u8::MAX), None);
    }

    #[test]
    fn every_part_counts() {
        use FieldValue::{Constant, Custom, System, Ticket};
        let all = [
            field("object", System(SystemVariable::Object)),
            field("x:a", Custom("1")),
            field("plan", Constant(b"free")),
            field("x:ticket", Ticket),
        ];
        let sealed = seal(&all);
        assert!(matches(&sealed, all, NONCE));
        assert!(!matches(&sealed, all, Nonce::from_bytes([8; 16])));
        for (at, other) in [
            (0, field("object", System(SystemVariable::Bucket))),
            (0, field("filename", System(SystemVariable::Object))),
            (0, field("object", Custom("a"))),
            (1, field("x:a", Custom("2"))),
            (1, field("x:b", Custom("1"))),
            (1, field("x:a", Constant(b"1"))),
            (2, field("plan", Constant(b"fee"))),
            (2, field("plan", Custom("free"))),
            (3, field("x:ticket", Constant(b""))),
        ] {
            let mut changed = all;
            changed[at] = other;
            assert!(!matches(&sealed, changed, NONCE), "{other:?}");
        }
        let [first, second, third, fourth] = all;
        assert!(!matches(&sealed, [second, first, third, fourth], NONCE));
        assert!(!matches(&sealed, [first, second, third], NONCE));
        assert!(!matches(
            &sealed,
            [first, second, third, fourth, fourth],
            NONCE
        ));
    }

    #[test]
    fn texts_do_not_run_into_each_other() {
        use FieldValue::Custom;
        let one = seal(&[field("x:a", Custom("bc")), field("x:d", Custom(""))]);
        let other = seal(&[field("x:a", Custom("b")), field("x:d", Custom("c"))]);
        let third = seal(&[field("x:ab", Custom("c")), field("x:d", Custom(""))]);
        assert!(one != other && other != third && one != third);
    }

    #[test]
    fn more_fields_than_a_byte_counts_are_not_sealed() {
        let fields = vec![field("x:a", FieldValue::Custom("")); MAX_FIELDS + 1];
        assert!(SealedFields::of(fields.iter().copied(), &NONCE).is_none());
        assert!(SealedFields::of(fields.iter().copied().skip(1), &NONCE).is_some());
    }
}
