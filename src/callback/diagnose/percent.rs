//! Percent escapes, written in the other case.

/// Changes the two bytes behind each `%`.
pub(super) fn with_case(text: &[u8], change: fn(&u8) -> u8) -> Vec<u8> {
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
    #[test]
    fn only_escapes_change() {
        let upper = |text: &str| super::with_case(text.as_bytes(), u8::to_ascii_uppercase);
        assert_eq!(upper("a%2f%e4b&c%"), b"a%2F%E4b&c%");
        assert_eq!(upper("%%2fa%a"), b"%%2Fa%A");
    }
}
