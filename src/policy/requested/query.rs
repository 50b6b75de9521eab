//! One file, asked for in the query.

use percent_encoding::percent_decode_str;

use super::{AskError, RequestedFile, RequestedFiles};

/// Whether the query asks for anything; other names in it are somebody else's.
pub(in crate::policy) fn asks(query: Option<&str>) -> bool {
    pairs(query).any(|(name, _)| matches!(name, "filename" | "size" | "type"))
}

pub(in crate::policy) fn from_query(query: Option<&str>) -> Result<RequestedFiles, AskError> {
    let (mut filename, mut size, mut content_type) = (None, None, None);
    for (name, value) in pairs(query) {
        let slot = match name {
            "filename" => &mut filename,
            "size" => &mut size,
            "type" => &mut content_type,
            _ => continue,
        };
        if slot.replace(decode(value)?).is_some() {
            return Err(AskError::Repeated);
        }
    }
    let size = size
        .filter(|size| !size.is_empty())
        .map(|size| number(&size).ok_or(AskError::Size))
        .transpose()?;
    RequestedFile::new(filename.as_deref(), size, content_type.as_deref()).map(RequestedFiles::one)
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// As `application/x-www-form-urlencoded` is decoded, but what is not UTF-8 is refused rather than replaced.
fn decode(value: &str) -> Result<String, AskError> {
    let spaced = value.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(|text| text.into_owned())
        .map_err(|_| AskError::Encoding)
}

/// Digits alone: `+5` and `5.0` are no sizes.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let ask = from_query(Some(
            "v=1&filename=a+b%20%E4%B8%AD.png&size=1024&type=Image%2Fpng&filenames=x",
        ))
        .unwrap();
        assert!(!ask.is_batch());
        let [file] = ask.files() else { panic!() };
        assert_eq!(file.filename(), Some("a b 中.png"));
        assert_eq!(file.size(), Some(1024));
        assert_eq!(file.content_type().unwrap().as_str(), "image/png");

        for nothing in [
            None,
            Some(""),
            Some("filename=&size=&type="),
            Some("v=2&&="),
        ] {
            let ask = from_query(nothing).unwrap();
            assert_eq!(ask.files(), [RequestedFile::default()]);
        }
        assert!(asks(Some("a=b&type=")) && !asks(Some("a=b&Type=x")) && !asks(None));
    }

    #[test]
    fn queries_that_cannot_be_read() {
        let long = format!("filename={}", "a".repeat(1024));
        for (query, error) in [
            ("filename=a&filename=a", AskError::Repeated),
            ("size=1&size=2", AskError::Repeated),
            ("filename=%FF", AskError::Encoding),
            (&*long, AskError::Filename),
            ("size=-1", AskError::Size),
            ("size=%2B1", AskError::Size),
            ("size=1.0", AskError::Size),
            ("size=1e3", AskError::Size),
            ("size=NaN", AskError::Size),
            ("size=18446744073709551616", AskError::Size),
            ("type=png", AskError::ContentType),
            ("type=image/*", AskError::ContentType),
            ("type=image/png;a=b", AskError::ContentType),
            ("type=image/png%0d%0a", AskError::ContentType),
        ] {
            assert_eq!(from_query(Some(query)).unwrap_err(), error, "{query}");
        }
    }
}
