//! Callback parameters: what the uploader asks OSS to send, and where.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    uri::{Authority, Uri},
};
use serde_json::{Map, Value};

use super::{
    connection::Destination,
    network::{self, AllowedPrivate, CallbackNetwork},
    policies::{self, CallbackPolicy},
    template::Template,
};
use crate::{
    errors::{
        CALLBACK_BASE64, CALLBACK_BODY, CALLBACK_BODY_EMPTY, CALLBACK_BODY_TYPE,
        CALLBACK_BODY_TYPE_UNKNOWN, CALLBACK_HEADER_EMPTY, CALLBACK_HEADER_KEY,
        CALLBACK_HEADER_PREFIX, CALLBACK_HEADER_RESERVED, CALLBACK_HEADER_VALUE, CALLBACK_HEADERS,
        CALLBACK_HEADERS_MANY, CALLBACK_HOST, CALLBACK_JSON, CALLBACK_LENGTH, CALLBACK_POLICY,
        CALLBACK_SIGNATURE_VERSION, CALLBACK_SNI, CALLBACK_TEMPLATE, CALLBACK_TWICE, CALLBACK_URL,
        CALLBACK_URLS, CALLBACK_V2, CALLBACK_VAR, CALLBACK_VAR_LENGTH, CALLBACK_VAR_TWICE,
        OssError,
    },
    query::Query,
};
use tower_aliyun_oss::protocol::CallbackBodyType;

/// The longest parameters, in bytes of Base64.
const MAX_ENCODED: usize = 5 * 1024;
const MAX_URLS: usize = 5;
const MAX_HEADERS: usize = 10;
/// Names that `additionalHeaders` must not have, from Alibaba Cloud's announcement of additional
/// headers: <https://developer.aliyun.com/article/229339>. It gives no EC.
const RESERVED_HEADERS: [&str; 9] = [
    "authorization",
    "content-length",
    "content-md5",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "upgrade",
    "user-agent",
];

/// Validated callback parameters.
#[derive(Debug)]
pub(crate) struct Directive {
    /// In the order in which they are tried.
    pub(super) targets: Vec<Target>,
    pub(super) host: Option<HeaderValue>,
    pub(super) template: Template,
    pub(super) body_type: CallbackBodyType,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Custom variables, names and values.
    pub(crate) variables: Vec<(String, String)>,
    /// The parameters decoded from Base64.
    pub(crate) json: String,
}

/// A URL to call, and its address.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) destination: Destination,
}

impl Directive {
    /// Validates the parameters, Base64 of JSON, and resolves their hosts. They may name a policy
    /// of the bucket, which has its own custom variables.
    pub(crate) async fn parse(
        encoded: &str,
        policies: &[CallbackPolicy],
        network: &dyn CallbackNetwork,
        allowed: &AllowedPrivate,
    ) -> Result<Self, OssError> {
        let json = decode(encoded)?;
        let Some(policy) = policies::named(&json, policies)? else {
            return Self::resolve(json, network, allowed).await;
        };
        let own = async {
            let mut directive = Self::resolve(decode(&policy.callback)?, network, allowed).await?;
            if !policy.callback_var.is_empty() {
                directive.variables = variables(&policy.callback_var)?;
            }
            Ok::<_, OssError>(directive)
        };
        // The policy may contain secrets that the sender of the request must not learn.
        own.await.map_err(OssError::without_details)
    }

    /// Validates the parameters and resolves their hosts.
    async fn resolve(
        json: String,
        network: &dyn CallbackNetwork,
        allowed: &AllowedPrivate,
    ) -> Result<Self, OssError> {
        let parsed = Self::read(&json).map_err(|error| error.or_argument("callback", &*json));
        let (mut directive, urls, sni) = parsed?;
        // All hosts are resolved before the object is stored, so that a private address fails the
        // upload and not only the callback.
        for url in urls {
            let address = network::resolve(network, &url.host, url.port, allowed)
                .await
                .map_err(|error| error.argument("callbackUrl", &*url.text))?;
            directive.targets.push(Target {
                destination: Destination::new(address, &url.host, url.https, sni),
                url: url.text,
            });
        }
        directive.json = json;
        Ok(directive)
    }

    /// Everything but the addresses: the directive without targets, its URLs and `callbackSNI`.
    fn read(json: &str) -> Result<(Self, Vec<CallbackUrl>, bool), OssError> {
        let Ok(Value::Object(parameters)) = serde_json::from_str::<Value>(json) else {
            return Err(CALLBACK_JSON);
        };
        let get = |name: &str| parameters.get(name);
        // A policy does not name another.
        if get("callbackPolicy").is_some() {
            return Err(CALLBACK_POLICY);
        }
        let url = get("callbackUrl").and_then(Value::as_str);
        let urls = CallbackUrl::list(url.ok_or(CALLBACK_URL)?)?;
        let host = get("callbackHost")
            .map(|host| host.as_str().and_then(|host| host.parse().ok()))
            .map(|host: Option<HeaderValue>| host.ok_or(CALLBACK_HOST))
            .transpose()?;
        let body = match get("callbackBody") {
            // The page about status 400 calls both of these empty.
            None => return Err(CALLBACK_BODY_EMPTY),
            Some(Value::String(body)) if body.is_empty() => return Err(CALLBACK_BODY_EMPTY),
            Some(Value::String(body)) => body,
            Some(_) => return Err(CALLBACK_BODY),
        };
        let body_type = body_type(&parameters)?;
        let sni = match get("callbackSNI") {
            None => false,
            Some(Value::Bool(sni)) => *sni,
            Some(_) => return Err(CALLBACK_SNI),
        };
        match get("signatureVersion") {
            None => {}
            Some(version) if version == "1.0" => {}
            // Announced, by invitation only. The formula is not public, and 1.0 would be a lie.
            Some(version) if version == "2.0" => return Err(CALLBACK_V2),
            Some(_) => return Err(CALLBACK_SIGNATURE_VERSION),
        }
        let headers = get("additionalHeaders")
            .map(additional_headers)
            .transpose()?;
        let template = Template::parse(body)
            .ok_or_else(|| CALLBACK_TEMPLATE.argument("ReplaceKeyPrefix", body))?;
        let directive = Self {
            targets: Vec::new(),
            host,
            template,
            body_type,
            headers: headers.unwrap_or_default(),
            variables: Vec::new(),
            json: String::new(),
        };
        Ok((directive, urls, sni))
    }
}

/// Decodes callback parameters.
fn decode(encoded: &str) -> Result<String, OssError> {
    if encoded.len() > MAX_ENCODED {
        return Err(CALLBACK_LENGTH.argument("callback", encoded));
    }
    let json = STANDARD
        .decode(encoded)
        .map_err(|_| CALLBACK_BASE64.argument("callback", encoded))?;
    // Lossy, because the error quotes the text.
    Ok(String::from_utf8_lossy(&json).into_owned())
}

fn body_type(parameters: &Map<String, Value>) -> Result<CallbackBodyType, OssError> {
    match parameters.get("callbackBodyType") {
        None => Ok(CallbackBodyType::Form),
        Some(Value::String(name)) => CallbackBodyType::ALL
            .into_iter()
            .find(|body_type| body_type.as_str() == name)
            .ok_or(CALLBACK_BODY_TYPE_UNKNOWN),
        Some(_) => Err(CALLBACK_BODY_TYPE),
    }
}

/// Reads `additionalHeaders`.
fn additional_headers(value: &Value) -> Result<Vec<(HeaderName, HeaderValue)>, OssError> {
    let map = value.as_object().ok_or(CALLBACK_HEADERS)?;
    if map.len() > MAX_HEADERS {
        return Err(CALLBACK_HEADERS_MANY);
    }
    map.iter()
        .map(|(key, value)| {
            let value = value.as_str().ok_or(CALLBACK_HEADERS)?;
            if key.is_empty() {
                return Err(CALLBACK_HEADER_EMPTY);
            }
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if !key.bytes().all(allowed) {
                return Err(CALLBACK_HEADER_KEY);
            }
            if key.starts_with("x-oss-") {
                return Err(CALLBACK_HEADER_PREFIX);
            }
            if RESERVED_HEADERS.contains(&&**key) {
                return Err(CALLBACK_HEADER_RESERVED);
            }
            let name = key.parse().map_err(|_| CALLBACK_HEADER_KEY)?;
            let value = value.parse().map_err(|_| CALLBACK_HEADER_VALUE)?;
            Ok((name, value))
        })
        .collect()
}

/// Reads the callback of a request other than a form: from its headers or from its query, not both.
pub(crate) async fn of_request(
    headers: &HeaderMap,
    query: &Query,
    policies: &[CallbackPolicy],
    network: &dyn CallbackNetwork,
    allowed: &AllowedPrivate,
) -> Result<Option<Directive>, OssError> {
    // A value that is not visible ASCII is not Base64 either, and neither is `?`.
    let header = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| value.to_str().unwrap_or("?"))
    };
    let one_of = |header: Option<_>, parameter: Option<_>, both| match (header, parameter) {
        (Some(_), Some(_)) => Err(both),
        (header, parameter) => Ok(header.or(parameter)),
    };
    let callback = one_of(
        header("x-oss-callback"),
        query.get("callback"),
        CALLBACK_TWICE,
    )?;
    let encoded = one_of(
        header("x-oss-callback-var"),
        query.get("callback-var"),
        CALLBACK_VAR_TWICE,
    )?;
    let variables = encoded.map(variables).transpose()?;
    let Some(callback) = callback else {
        return Ok(None);
    };
    let mut directive = Directive::parse(callback, policies, network, allowed).await?;
    if let Some(variables) = variables {
        directive.variables = variables;
    }
    Ok(Some(directive))
}

/// Parses custom variables: Base64 of a JSON object of strings.
///
/// The reference requires names that begin with `x:`. OSS accepts others, as the tests of `oss2`
/// show.
///
/// A form has one field per variable. The emulator validates its `callback-var`, as OSS reportedly
/// does, and ignores the content.
pub(crate) fn variables(encoded: &str) -> Result<Vec<(String, String)>, OssError> {
    if encoded.len() > MAX_ENCODED {
        return Err(CALLBACK_VAR_LENGTH.argument("callback-var", encoded));
    }
    let invalid = || CALLBACK_VAR.argument("callback-var", encoded);
    let json = STANDARD.decode(encoded).map_err(|_| invalid())?;
    let map: BTreeMap<String, String> = serde_json::from_slice(&json).map_err(|_| invalid())?;
    Ok(map.into_iter().collect())
}

/// A callback URL with its scheme.
#[derive(Clone, Debug, Eq, PartialEq)]
struct CallbackUrl {
    text: String,
    host: String,
    port: u16,
    https: bool,
}

impl CallbackUrl {
    /// Parses `callbackUrl`: up to five URLs, separated by semicolons.
    fn list(text: &str) -> Result<Vec<Self>, OssError> {
        let invalid = |error: OssError| error.argument("callbackUrl", text);
        let urls: Vec<_> = text
            .split(';')
            .map(str::trim)
            .filter(|url| !url.is_empty())
            .collect();
        if urls.is_empty() {
            return Err(invalid(CALLBACK_URL));
        }
        if urls.len() > MAX_URLS {
            return Err(invalid(CALLBACK_URLS));
        }
        urls.into_iter()
            .map(|url| Self::parse(url).ok_or_else(|| invalid(CALLBACK_URL)))
            .collect()
    }

    fn parse(url: &str) -> Option<Self> {
        let text = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        // `Uri` drops a fragment silently, and the callback signature covers the URL as given.
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains('#') {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let https = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let (host, port) = host_and_port(authority)?;
        Some(Self {
            host: host.to_owned(),
            port: port.unwrap_or(if https { 443 } else { 80 }),
            https,
            text,
        })
    }
}

/// Splits an authority. `None` if it contains user information or an IPv6 address, or if the port
/// is not between 1 and 65535.
fn host_and_port(authority: &Authority) -> Option<(&str, Option<u16>)> {
    let text = authority.as_str();
    let host = authority.host();
    if text.contains(['@', '[']) || host.is_empty() {
        return None;
    }
    match text.get(host.len()..)? {
        "" => Some((host, None)),
        port => {
            let port = port.strip_prefix(':')?;
            // `u16::from_str` accepts a plus sign.
            let digits = port.bytes().all(|b| b.is_ascii_digit());
            let port: u16 = port.parse().ok().filter(|_| digits)?;
            (port > 0).then_some((host, Some(port)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_oss_takes_them() {
        for (text, urls) in [
            ("http://a.example/cb", &[("http://a.example/cb", 80)][..]),
            (
                "121.101.166.30/test.php",
                &[("http://121.101.166.30/test.php", 80)],
            ),
            (
                "https://a.example;b.example:8080/x?y=%E4;",
                &[
                    ("https://a.example", 443),
                    ("http://b.example:8080/x?y=%E4", 8080),
                ],
            ),
        ] {
            let parsed = CallbackUrl::list(text).unwrap();
            let parsed: Vec<_> = parsed.iter().map(|url| (&*url.text, url.port)).collect();
            assert_eq!(parsed, urls, "{text}");
        }
        for bad in [
            "",
            ";",
            "host:test",
            "host:0",
            "host:",
            "host:65536",
            "host:+1",
            "ftp://h/",
            "http://[::1]/",
            "http://u@h/",
            "http:///x",
            "http://h/\u{4e2d}",
            "http://h/a b",
        ] {
            let error = CallbackUrl::list(bad).unwrap_err();
            assert_eq!(error.ec(), Some("0007-00000004"), "{bad}");
        }
        let six = "a.example;".repeat(6);
        assert_eq!(
            CallbackUrl::list(&six).unwrap_err().ec(),
            Some("0007-00000005")
        );
    }
}
