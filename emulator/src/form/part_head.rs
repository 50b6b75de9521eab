//! The head of a part: its name and its file name.
//!
//! OSS reads less than RFC 7578 allows. None of this is documented; clients that fail on OSS, and
//! the changes that repaired them, show it:
//!
//! * `Content-Disposition` comes first. OSS refuses a part with `Content-Type` before it.
//! * A blank follows each semicolon. In `name="file";filename="a"` the name has not ended.
//! * Names are quoted.
//!
//! The RFC 8187 parameter `filename*` and names that are not UTF-8 count as absent.

use http::{HeaderMap, header::CONTENT_DISPOSITION};
use multer::Field;

use crate::errors::{self, OssError};

/// What `Content-Disposition` contains.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct PartHead {
    pub(super) name: Option<String>,
    pub(super) file_name: Option<String>,
}

impl PartHead {
    /// Reads a head as OSS does.
    pub(super) fn parse(headers: &HeaderMap) -> Result<Self, OssError> {
        let Some(disposition) = headers.get(CONTENT_DISPOSITION) else {
            return Ok(Self {
                name: None,
                file_name: None,
            });
        };
        // `HeaderMap` iterates in the order of insertion as long as nothing is removed. It does
        // not promise to, so the test below would show a change.
        if headers.keys().next() != Some(&CONTENT_DISPOSITION) {
            return Err(errors::PART_HEAD);
        }
        let get = |wanted: &str| {
            let mut parameters = Parameters(disposition.as_bytes());
            let found = parameters.find(|(name, _)| *name == wanted.as_bytes());
            found.and_then(|(_, value)| text(value))
        };
        Ok(Self {
            name: get("name"),
            file_name: get("filename"),
        })
    }

    /// Takes what the multipart parser has read, which accepts any order, any blanks, and names
    /// without quotes.
    pub(super) fn lenient(field: &Field<'_>) -> Self {
        Self {
            name: field.name().map(str::to_owned),
            file_name: field.file_name().map(str::to_owned),
        }
    }
}

/// The quoted parameters of a `Content-Disposition`, names and values.
///
/// It walks from parameter to parameter. A search for `name="` would also find it in
/// `filename="`, and in the value of another parameter.
struct Parameters<'a>(&'a [u8]);

impl<'a> Iterator for Parameters<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.0.is_empty() {
            let parameter = self.0.trim_ascii_start();
            if let Some((name, quoted)) = opening(parameter)
                && let Some(end) = closing(quoted)
            {
                let (value, rest) = quoted.split_at(end);
                self.0 = rest.strip_prefix(b"\"; ").unwrap_or_default();
                return Some((name, value));
            }
            // The type `form-data`, or a parameter without quotes.
            let end = parameter.windows(2).position(|pair| pair == b"; ");
            self.0 = end.map_or(&[], |end| &parameter[end + 2..]);
        }
        None
    }
}

/// Splits `name="rest` into the name and the rest.
fn opening(parameter: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = parameter.iter().position(|b| *b == b'=')?;
    let (name, rest) = parameter.split_at(equals);
    let is_name = name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    let rest = rest.strip_prefix(b"=\"")?;
    is_name.then_some((name, rest))
}

/// Finds the quote that ends a value: the next one at the end of the header or before `; `.
fn closing(quoted: &[u8]) -> Option<usize> {
    (0..quoted.len()).find(|at| {
        let is_quote = quoted[*at] == b'"';
        let after = &quoted[at + 1..];
        let is_last = after.is_empty() || after == b";";
        let escaped = *at > 0 && quoted[at - 1] == b'\\';
        is_quote && (is_last || (!escaped && after.starts_with(b"; ")))
    })
}

fn text(value: &[u8]) -> Option<String> {
    // Older browsers escape a quote with a backslash. Newer ones send `%22`, which stays.
    let text = std::str::from_utf8(value).ok()?;
    Some(text.replace("\\\"", "\""))
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn read(disposition: &[u8]) -> (Option<String>, Option<String>) {
        let mut headers = HeaderMap::new();
        let disposition = HeaderValue::from_bytes(disposition).unwrap();
        headers.insert(CONTENT_DISPOSITION, disposition);
        let head = PartHead::parse(&headers).unwrap();
        (head.name, head.file_name)
    }

    #[test]
    fn parameters_as_oss_reads_them() {
        for (disposition, name, file_name) in [
            ("form-data", None, None),
            (r#"form-data; name="a""#, Some("a"), None),
            (r#"form-data; name="a"; filename="b""#, Some("a"), Some("b")),
            (r#"form-data; filename="b"; name="a""#, Some("a"), Some("b")),
            (
                r#"form-data; name="a"; filename="b";"#,
                Some("a"),
                Some("b"),
            ),
            (r#"form-data; name=""; filename="""#, Some(""), Some("")),
            // No blank: the name does not end where its quote does.
            (
                r#"form-data; name="a";filename="b""#,
                Some(r#"a";filename="b"#),
                None,
            ),
            (r#"form-data;name="a"; filename="b""#, None, Some("b")),
            // No quotes.
            (r#"form-data; name=a; filename="b""#, None, Some("b")),
            (r#"form-data; name="a"; filename=b"#, Some("a"), None),
            // `name="` within another parameter or its value.
            (r#"form-data; filename="name=""#, None, Some("name=")),
            (
                r#"form-data; filename="; name="x"; name="a""#,
                Some("a"),
                Some(r#"; name="x"#),
            ),
            (r#"form-data; x-name="b"; name="a""#, Some("a"), None),
            (
                r#"form-data; name="a"; filename="q\"; name=\"b.png""#,
                Some("a"),
                Some(r#"q"; name="b.png"#),
            ),
            (
                r#"form-data; name="a"; filename="C:\dir\""#,
                Some("a"),
                Some(r"C:\dir\"),
            ),
            (
                r#"form-data; name="a"; filename="50%22.png""#,
                Some("a"),
                Some("50%22.png"),
            ),
            ("form-data; name=\"a\"; filename*=UTF-8''b", Some("a"), None),
            (r#"form-data; name="a"#, None, None),
        ] {
            let found = read(disposition.as_bytes());
            let expected = (name.map(str::to_owned), file_name.map(str::to_owned));
            assert_eq!(found, expected, "{disposition}");
        }
        let (name, file_name) = read(b"form-data; name=\"a\"; filename=\"\xd5\xd5.png\"");
        assert_eq!((name.as_deref(), file_name), (Some("a"), None));
    }

    /// Depends on `HeaderMap`, whose order is not part of its interface.
    #[test]
    fn the_disposition_comes_first() {
        let names = [
            CONTENT_DISPOSITION,
            http::header::CONTENT_TYPE,
            HeaderName::from_static("content-transfer-encoding"),
        ];
        for first in 0..names.len() {
            let mut order = names.clone();
            order.rotate_left(first);
            let value = HeaderValue::from_static("form-data; name=\"a\"");
            let headers: HeaderMap = order
                .into_iter()
                .map(|name| (name, value.clone()))
                .collect();
            let head = PartHead::parse(&headers);
            assert_eq!(head.is_ok(), first == 0, "{headers:?}");
        }
    }
}
