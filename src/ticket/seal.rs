//! Texts sealed with the ticket keys, for another use than tickets.
//!
//! A sealed text is URL-safe Base64 without padding of the key id (2 bytes), the content, and the
//! HMAC-SHA256 over the domain of its use, the key id and the content. Nothing is encrypted. Before
//! the MAC is verified, two bytes are read at a fixed offset.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::key::{TicketKey, TicketKeys};

const MAC_LEN: usize = 32;

/// A use of the keys. It is part of the MAC, so a text of one use is never accepted for another.
#[derive(Clone, Copy)]
pub(crate) struct Domain(pub(crate) &'static str);

impl TicketKeys {
    /// Seals `content` with the newest key.
    pub(crate) fn seal(&self, domain: Domain, content: &[u8]) -> String {
        let id = self.newest_id().to_be_bytes();
        let mac = mac(self.newest(), domain, &[&id, content]).finalize();
        let mut bytes = Vec::with_capacity(id.len() + content.len() + MAC_LEN);
        bytes.extend(id);
        bytes.extend(content);
        bytes.extend(mac.into_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Returns the content of an authentic text of at most `max_len` characters. The MAC is
    /// compared in constant time.
    pub(crate) fn open(&self, domain: Domain, text: &str, max_len: usize) -> Option<Vec<u8>> {
        if text.len() > max_len {
            return None;
        }
        // This engine rejects padding and non-zero trailing bits: a text has one spelling.
        let mut bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (sealed, tag) = bytes.split_last_chunk::<MAC_LEN>()?;
        let id = sealed.first_chunk::<2>()?;
        let key = self.key(u16::from_be_bytes(*id))?;
        mac(key, domain, &[sealed]).verify_slice(tag).ok()?;
        bytes.truncate(bytes.len() - MAC_LEN);
        bytes.drain(..2);
        Some(bytes)
    }
}

/// Starts with the length of the domain, so that no content can continue it.
fn mac(key: &TicketKey, domain: Domain, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = key.mac();
    mac.update(&(domain.0.len() as u16).to_be_bytes());
    mac.update(domain.0.as_bytes());
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Domain = Domain("a-v1");

    #[test]
    fn ps_02_a_text_is_opened_by_its_keys_and_in_its_domain_only() {
        let (old, new) = (
            TicketKey::generate().unwrap(),
            TicketKey::generate().unwrap(),
        );
        let before = TicketKeys::new(1, old.clone());
        let text = before.seal(A, b"content");
        assert_eq!(before.open(A, &text, 1000).unwrap(), b"content");
        let rotated = TicketKeys::new(2, new.clone())
            .with_previous(1, old)
            .unwrap();
        assert_eq!(rotated.open(A, &text, 1000).unwrap(), b"content");
        for (keys, domain) in [
            (TicketKeys::new(1, new.clone()), A),
            (TicketKeys::new(2, new), A),
            (before.clone(), Domain("a-v2")),
            (before.clone(), Domain("a-v1c")),
        ] {
            assert_eq!(keys.open(domain, &text, 1000), None);
        }
        assert_eq!(before.open(A, &text, text.len() - 1), None);
    }

    #[test]
    fn ps_01_every_changed_character_is_rejected() {
        let keys = TicketKeys::new(1, TicketKey::generate().unwrap());
        let text = keys.seal(A, b"content");
        for at in 0..text.len() {
            for other in ["A", "B", "_", "=", "é"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, other);
                if changed != text {
                    assert_eq!(keys.open(A, &changed, 1000), None, "{changed}");
                }
            }
        }
        for odd in ["", "A", "AAAA", &format!("{text}=="), &format!("{text}A")] {
            assert_eq!(keys.open(A, odd, 1000), None, "{odd}");
        }
    }
}
