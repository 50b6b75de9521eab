//! The URL of a key, as a callback names it.

use std::{error::Error, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::KeyTable;

/// The key a callback says it was signed with: an entry of a [`KeyTable`], and never anything else.
///
/// There is no way to make one from a URL that the table does not hold, so what a request says can only select,
/// never send anybody anywhere.
#[derive(Clone, Eq, PartialEq)]
pub struct KeyUrl {
    table: KeyTable,
    entry: u16,
}

impl KeyUrl {
    /// The longest value of the header that is looked at, in bytes.
    pub const MAX_HEADER_LEN: usize = 512;

    /// Reads the value of `x-oss-pub-key-url`: strict, padded, standard Base64 of a URL in the table.
    ///
    /// Allocates nothing, whatever the value is.
    ///
    /// # Errors
    ///
    /// When the value is too long, not Base64 in its one canonical form, or not in the table.
    pub fn from_header(value: &[u8], table: &KeyTable) -> Result<Self, KeyUrlError> {
        if value.len() > Self::MAX_HEADER_LEN {
            return Err(KeyUrlError::TooLong);
        }
        if value.is_empty() {
            return Err(KeyUrlError::NotBase64);
        }
        let mut decoded = [0; Self::MAX_HEADER_LEN / 4 * 3];
        let len = STANDARD
            .decode_slice(value, &mut decoded)
            .map_err(|_| KeyUrlError::NotBase64)?;
        let url = decoded.get(..len).unwrap_or_default();
        let entry = table.entry(url).ok_or(KeyUrlError::NotAllowed)?;
        Ok(Self {
            table: table.clone(),
            entry,
        })
    }

    #[cfg(feature = "fetch")]
    pub(super) fn of_path(table: &KeyTable, path: &str) -> Option<Self> {
        let url = format!("https://{}{path}", table.host());
        let entry = table.entry(url.as_bytes())?;
        let table = table.clone();
        Some(Self { table, entry })
    }

    /// The host of the table.
    #[must_use]
    pub fn host(&self) -> &str {
        self.table.host()
    }

    /// The path of the entry.
    #[must_use]
    pub fn path(&self) -> String {
        self.table.path(self.entry)
    }

    /// The N of `callback_pub_key_vN.pem`, when the table is that of OSS.
    #[must_use]
    pub fn official_version(&self) -> Option<u16> {
        self.table.is_official().then_some(self.entry)
    }

    pub(crate) const fn entry(&self) -> u16 {
        self.entry
    }

    pub(super) const fn table(&self) -> &KeyTable {
        &self.table
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.host(), self.path())
    }
}

impl fmt::Debug for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyUrl({self})")
    }
}

/// Why the value of `x-oss-pub-key-url` names no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyUrlError {
    /// Longer than [`KeyUrl::MAX_HEADER_LEN`].
    TooLong,
    /// Empty, or not strict standard Base64.
    NotBase64,
    /// A URL that the table does not hold.
    NotAllowed,
}

impl fmt::Display for KeyUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the key url is longer than 512 bytes",
            Self::NotBase64 => "the key url is not strict base64",
            Self::NotAllowed => "the key url is not in the table of the key source",
        })
    }
}

impl Error for KeyUrlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_header_is_read() {
        let url = format!("https://store.internal/{:p<361}", "");
        let path = url.trim_start_matches("https://store.internal");
        let table = KeyTable::own("store.internal", [path]).unwrap();
        let header = STANDARD.encode(&url);
        assert_eq!(header.len(), KeyUrl::MAX_HEADER_LEN);
        let read = KeyUrl::from_header(header.as_bytes(), &table).unwrap();
        assert_eq!(read.path(), path);
        let longer = KeyUrl::from_header(&[b'A'; KeyUrl::MAX_HEADER_LEN + 1], &table);
        assert_eq!(longer, Err(KeyUrlError::TooLong));
    }
}
