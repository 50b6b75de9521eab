//! Percent-encoding.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// The characters that are escaped: all except the unreserved ones of RFC 3986 section 2.3, which
/// are letters, digits and `-._~`.
///
/// Every encoder of the crate uses this set or derives its own with [`AsciiSet::add`] and
/// [`AsciiSet::remove`]. OSS signs such texts byte for byte, so two encoders must not disagree on a
/// character. A space becomes `%20`, never `+`.
pub(crate) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Applies `change` to the two bytes after each `%`, for example to write hex digits in upper case.
pub(crate) fn map_hex_digits(text: &[u8], change: fn(&u8) -> u8) -> Vec<u8> {
    let mut digits = 0;
    text.iter()
        .map(|byte| {
            if *byte == b'%' {
                digits = 2;
                return *byte;
            }
            if digits == 0 {
                return *byte;
            }
            digits -= 1;
            change(byte)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_escapes_change() {
        let upper = |text: &str| map_hex_digits(text.as_bytes(), u8::to_ascii_uppercase);
        assert_eq!(upper("a%2f%e4b&c%"), b"a%2F%E4b&c%");
        assert_eq!(upper("%%2fa%a"), b"%%2Fa%A");
    }

    #[test]
    fn unreserved_characters_stay_raw() {
        let ascii: String = (0..=0x7f_u8).map(char::from).collect();
        let encoded = percent_encoding::utf8_percent_encode(&ascii, UNRESERVED).to_string();
        let raw: String = ascii
            .chars()
            .filter(|&c| !encoded.contains(&format!("%{:02X}", u32::from(c))))
            .collect();
        assert_eq!(
            raw,
            "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
        );
    }
}
