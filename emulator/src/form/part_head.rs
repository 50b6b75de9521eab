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

use http::header::CONTENT_DISPOSITION;

use super::parts::Head;
use crate::errors::{self, OssError};

/// What `Content-Disposition` contains.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct PartHead {
    pub(super) name: Option<String>,
    pub(super) file_name: Option<String>,
}

impl PartHead {
    /// Reads a head as OSS does.
    pub(super) fn parse(head: &Head) -> Result<Self, OssError> {
        let mut dispositions = (0..)
            .zip(head)
            .filter(|(_, (name, _))| name == CONTENT_DISPOSITION);
        let Some((at, (_, disposition))) = dispositions.next() else {
            return Ok(Self::default());
        };
        if at > 0 {
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

    /// Reads a head as RFC 7578 allows it: in any order, with any blanks, and with names that are
    /// not quoted.
    pub(super) fn lenient(head: &Head) -> Self {
        let mut dispositions = head.iter().filter(|(name, _)| name == CONTENT_DISPOSITION);
        let Some((_, disposition)) = dispositions.next() else {
            return Self::default();
        };
        let mut found = Self::default();
        for parameter in semicolons(disposition.as_bytes()) {
            let Some(equals) = parameter.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let (name, value) = parameter.split_at(equals);
            let value = value[1..].trim_ascii();
            let quoted = value
                .strip_prefix(b"\"")
                .and_then(|v| v.strip_suffix(b"\""));
            let place = match name.trim_ascii() {
                b"name" => &mut found.name,
                b"filename" => &mut found.file_name,
                _ => continue,
            };
            if place.is_none() {
                *place = text(quoted.unwrap_or(value));
            }
        }
        found
    }
}

/// Splits a header at the semicolons that are not quoted.
fn semicolons(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    header.split(move |byte| {
        let escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'"' if !escaped => is_quoted = !is_quoted,
            b'\\' if is_quoted && !escaped => is_escaped = true,
            _ => {}
        }
        *byte == b';' && !is_quoted
    })
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

    fn head(disposition: &[u8]) -> Head {
        let disposition = HeaderValue::from_bytes(disposition).unwrap();
        vec![(CONTENT_DISPOSITION, disposition)]
    }

    fn read(disposition: &[u8]) -> (Option<String>, Option<String>) {
        let head = PartHead::parse(&head(disposition)).unwrap();
        (head.name, head.file_name)
    }

    #[test]
    fn parameters_as_the_standard_allows_them() {
        for (disposition, name, file_name) in [
            ("form-data", None, None),
            (r#"form-data;name="a";filename="b""#, Some("a"), Some("b")),
            ("form-data; name = a ;filename=b", Some("a"), Some("b")),
            (
                r#"form-data; filename="name=\";x"; name="a""#,
                Some("a"),
                Some(r#"name=";x"#),
            ),
            (
                r#"form-data; filename="; name=b"; name="a""#,
                Some("a"),
                Some("; name=b"),
            ),
            (
                r#"form-data; x-name="b"; name="a"; name="c""#,
                Some("a"),
                None,
            ),
            ("form-data; name=\"a\"; filename*=UTF-8''b", Some("a"), None),
        ] {
            let found = PartHead::lenient(&head(disposition.as_bytes()));
            let found = (found.name.as_deref(), found.file_name.as_deref());
            assert_eq!(found, (name, file_name), "{disposition}");
        }
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
            let head = order.map(|name| (name, value.clone())).to_vec();
            assert_eq!(PartHead::parse(&head).is_ok(), first == 0, "{head:?}");
            assert_eq!(PartHead::lenient(&head).name.as_deref(), Some("a"));
        }
    }
}
