//! What OSS is told to call after an upload.

use std::{error::Error, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::uri::{Authority, Scheme};
use serde::Serialize;

use crate::protocol::{CallbackBodyType, CallbackTarget, TargetError};

/// The body of Alibaba's sample application servers.
const SAMPLE_BODY: &str = "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}";

/// The longest `callback` field OSS takes, in bytes of Base64 (EC 0007-00000001).
const MAX_ENCODED_LEN: usize = 5 * 1024;

/// What OSS is told to call once an upload is stored: the `callback` field of a form.
///
/// The URL is sent exactly as it is given here. It is held to the rules that the
/// [layer](crate::OssCallbackLayer) enforces on the other side, so no callback is asked for that would be refused.
///
/// ```
/// use tower_aliyun_oss::policy::CallbackDirective;
///
/// let callback = CallbackDirective::new("https://app.example/oss/callback")?;
/// assert_eq!(callback.target().as_str(), "/oss/callback");
/// assert!(CallbackDirective::new("https://app.example/a%2Fb").is_err());
/// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
/// ```
///
/// Source: the [Callback] page of the OSS API reference.
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone, Debug)]
pub struct CallbackDirective {
    target: CallbackTarget,
    encoded: Arc<str>,
    variables: Vec<(Box<str>, Box<str>)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    callback_url: &'a str,
    callback_body: &'a str,
    callback_body_type: &'static str,
}

impl CallbackDirective {
    /// One URL, called with the body of the sample servers: a form of `filename`, `size`, `mimeType`, `height` and
    /// `width`.
    ///
    /// `http://` may be left out, as OSS allows.
    ///
    /// # Errors
    ///
    /// When the URL is none that OSS would call, its path is not [canonical](CallbackTarget), or the whole is longer
    /// than the 5 KiB of Base64 that OSS takes.
    pub fn new(url: &str) -> Result<Self, CallbackDirectiveError> {
        let target = target_of(url)?;
        let parameters = Parameters {
            callback_url: url,
            callback_body: SAMPLE_BODY,
            callback_body_type: CallbackBodyType::Form.as_str(),
        };
        let json =
            serde_json::to_vec(&parameters).map_err(|_| CallbackDirectiveError::Serialize)?;
        let encoded = STANDARD.encode(json);
        if encoded.len() > MAX_ENCODED_LEN {
            return Err(CallbackDirectiveError::TooLong(encoded.len()));
        }
        Ok(Self {
            target,
            encoded: encoded.into(),
            variables: Vec::new(),
        })
    }

    /// A custom variable for `${x:…}` in the body, with the value that every upload must send for it.
    ///
    /// # Errors
    ///
    /// When the name is not `x:` and lower-case letters, digits, `-`, `_` or `.`, or was given before.
    pub fn variable(mut self, name: &str, value: &str) -> Result<Self, CallbackDirectiveError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
        let good = name
            .strip_prefix("x:")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(allowed));
        if !good || self.variables.iter().any(|(known, _)| **known == *name) {
            return Err(CallbackDirectiveError::Variable);
        }
        self.variables.push((name.into(), value.into()));
        Ok(self)
    }

    /// The custom variables, each a form field of its own: names with their `x:`, and values.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }

    /// The target that OSS will call and sign; `/` when the URL has no path.
    #[must_use]
    pub fn target(&self) -> &CallbackTarget {
        &self.target
    }

    /// The value of the form field `callback`: Base64 of JSON.
    #[must_use]
    pub fn encoded(&self) -> &str {
        &self.encoded
    }
}

fn target_of(url: &str) -> Result<CallbackTarget, CallbackDirectiveError> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) => {
            let scheme = scheme
                .parse::<Scheme>()
                .map_err(|_| CallbackDirectiveError::Scheme)?;
            if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
                return Err(CallbackDirectiveError::Scheme);
            }
            rest
        }
        None => url,
    };
    let (host, target) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let authority: Authority = host.parse().map_err(|_| CallbackDirectiveError::Host)?;
    let with_port = host.len() > authority.host().len();
    let port_is_good = authority.port_u16().is_some_and(|port| port > 0);
    if authority.host().is_empty() || host.contains(['@', '[', ';']) || (with_port && !port_is_good)
    {
        return Err(CallbackDirectiveError::Host);
    }
    // Several URLs are written with semicolons between them; this one is one.
    if target.contains(';') {
        return Err(CallbackDirectiveError::Several);
    }
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CallbackDirectiveError::NotEncoded);
    }
    let parsed = match target {
        "" => "/".parse(),
        // A URL without path but with a query is called with the path `/`.
        query if query.starts_with('?') => format!("/{query}").parse(),
        target => target.parse(),
    };
    parsed.map_err(CallbackDirectiveError::Target)
}

/// Why OSS cannot be told to call a URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum CallbackDirectiveError {
    /// A scheme other than `http` and `https`.
    Scheme,
    /// No host, a user name, an IPv6 address, or a port that is not 1 to 65535 (EC 0007-00000004).
    Host,
    /// A semicolon, with which OSS separates several URLs.
    Several,
    /// A character that must be percent-encoded.
    NotEncoded,
    /// The path is not in its canonical spelling, so the callback would be refused.
    Target(TargetError),
    /// A custom variable whose name is none, or stands twice.
    Variable,
    /// Longer than 5 KiB of Base64 (EC 0007-00000001); holds the length.
    TooLong(usize),
    /// The parameters could not be written as JSON.
    Serialize,
}

impl fmt::Display for CallbackDirectiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("a callback url starts with http:// or https://"),
            Self::Host => f.write_str(
                "a callback url needs a host name or an ipv4 address, without user name, and a port from 1 to 65535 \
                 if any (EC 0007-00000004)",
            ),
            Self::Several => f.write_str(
                "a callback url cannot hold a semicolon, with which oss separates several urls",
            ),
            Self::NotEncoded => f.write_str(
                "a callback url must be percent-encoded: white space and non-ascii characters as %XX",
            ),
            Self::Target(_) => f.write_str("the path of the callback url would be refused when oss calls it"),
            Self::Variable => f.write_str(
                "a custom variable is named x: and lower-case letters, digits, -, _ or ., each once",
            ),
            Self::TooLong(length) => write!(
                f,
                "the callback parameters are {length} bytes of base64, and oss takes at most 5120 (EC 0007-00000001)"
            ),
            Self::Serialize => f.write_str("the callback parameters could not be written as json"),
        }
    }
}

impl Error for CallbackDirectiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Target(source) => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_oss_calls() {
        for (url, target) in [
            ("http://88.88.88.88:8888", "/"),
            ("https://app.example", "/"),
            ("https://app.example?a=1", "/?a=1"),
            (
                "https://app.example/oss/callback?a=%2F&b",
                "/oss/callback?a=%2F&b",
            ),
            ("app.example:8080/cb/", "/cb/"),
            ("121.101.166.30/test.php", "/test.php"),
        ] {
            let directive = CallbackDirective::new(url).unwrap();
            assert_eq!(directive.target().as_str(), target, "{url}");
            let json: serde_json::Value =
                serde_json::from_slice(&STANDARD.decode(directive.encoded()).unwrap()).unwrap();
            assert_eq!(json["callbackUrl"], url, "sent as configured");
            assert_eq!(
                json["callbackBodyType"],
                "application/x-www-form-urlencoded"
            );
            assert_eq!(json["callbackBody"], SAMPLE_BODY);
            assert_eq!(json.as_object().unwrap().len(), 3);
        }
    }

    #[test]
    fn urls_that_would_fail() {
        use CallbackDirectiveError as E;
        let long = format!("http://h/{}", "a".repeat(4000));
        for (url, why) in [
            ("", E::Host),
            ("http://", E::Host),
            ("http:///cb", E::Host),
            ("ftp://h/cb", E::Scheme),
            ("http://u@h/cb", E::Host),
            ("http://[::1]/cb", E::Host),
            ("http://h:0/cb", E::Host),
            ("http://h:/cb", E::Host),
            ("http://h:65536/cb", E::Host),
            ("host:test", E::Host),
            ("http://h/a;http://i/b", E::Several),
            ("http://h/中", E::NotEncoded),
            ("http://h/a b", E::NotEncoded),
            ("http://h/cb#x", E::Target(TargetError::Character)),
            ("http://h/a%2Fb", E::Target(TargetError::Encoded)),
            ("http://h/a+b", E::Target(TargetError::Plus)),
            ("http://h/a/../b", E::Target(TargetError::DotSegment)),
            ("http://h//cb", E::Target(TargetError::EmptySegment)),
        ] {
            assert_eq!(CallbackDirective::new(url).map(drop), Err(why), "{url}");
        }
        assert!(matches!(CallbackDirective::new(&long), Err(E::TooLong(_))));
    }
}
