//! What the field `callback` says.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::{headers, network::CallbackNetwork, template::Template, url::CallbackUrl};
use crate::{
    catalogue::{
        CALLBACK_BASE64, CALLBACK_BODY, CALLBACK_BODY_EMPTY, CALLBACK_BODY_TYPE,
        CALLBACK_BODY_TYPE_UNKNOWN, CALLBACK_HOST, CALLBACK_JSON, CALLBACK_LENGTH, CALLBACK_POLICY,
        CALLBACK_SIGNATURE_VERSION, CALLBACK_SNI, CALLBACK_TEMPLATE, CALLBACK_URL, CALLBACK_VAR,
        CALLBACK_VAR_LENGTH,
    },
    error::OssError,
};
use tower_aliyun_oss::protocol::CallbackBodyType;

/// The longest parameters, in bytes of Base64.
const MAX_ENCODED: usize = 5 * 1024;

/// A callback that can be made.
#[derive(Debug)]
pub(crate) struct Directive {
    /// In the order they are tried, each with its address.
    pub(super) urls: Vec<(CallbackUrl, SocketAddr)>,
    pub(super) host: Option<HeaderValue>,
    pub(super) template: Template,
    pub(super) body_type: CallbackBodyType,
    pub(super) sni: bool,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Custom variables, names and values.
    pub(crate) variables: Vec<(String, String)>,
    /// The text that was Base64.
    pub(crate) json: String,
}

impl Directive {
    /// Checks the parameters, and asks where their hosts are.
    pub(crate) async fn parse(
        encoded: &str,
        network: &dyn CallbackNetwork,
        allow_private: bool,
    ) -> Result<Self, OssError> {
        if encoded.len() > MAX_ENCODED {
            return Err(CALLBACK_LENGTH.argument("callback", encoded));
        }
        let json = STANDARD
            .decode(encoded)
            .map_err(|_| CALLBACK_BASE64.argument("callback", encoded))?;
        let json = String::from_utf8_lossy(&json).into_owned();
        let mut directive = Self::read(&json).map_err(|error| match error {
            Fault::Plain(error) => error.argument("callback", &*json),
            Fault::Argument(error) => error,
        })?;
        let mut urls = Vec::with_capacity(directive.1.len());
        for url in directive.1 {
            let address = url.resolve(network, allow_private).await?;
            urls.push((url, address));
        }
        directive.0.urls = urls;
        directive.0.json = json;
        Ok(directive.0)
    }

    fn read(json: &str) -> Result<(Self, Vec<CallbackUrl>), Fault> {
        let Ok(Value::Object(parameters)) = serde_json::from_str(json) else {
            return Err(CALLBACK_JSON.into());
        };
        let get = |name: &str| parameters.get(name);
        // It would name a policy that was stored on the bucket before, and there is none.
        if get("callbackPolicy").is_some() {
            return Err(CALLBACK_POLICY.into());
        }
        let url = get("callbackUrl").and_then(Value::as_str);
        let urls = CallbackUrl::list(url.ok_or(CALLBACK_URL)?).map_err(Fault::Argument)?;
        let host = get("callbackHost")
            .map(|host| host.as_str().and_then(|host| host.parse().ok()))
            .map(|host: Option<HeaderValue>| host.ok_or(CALLBACK_HOST))
            .transpose()?;
        let body = match get("callbackBody") {
            // Both are said to be "empty" by the page about the status.
            None => return Err(CALLBACK_BODY_EMPTY.into()),
            Some(Value::String(body)) if body.is_empty() => return Err(CALLBACK_BODY_EMPTY.into()),
            Some(Value::String(body)) => body,
            Some(_) => return Err(CALLBACK_BODY.into()),
        };
        let body_type = match get("callbackBodyType") {
            None => CallbackBodyType::Form,
            Some(Value::String(name)) => CallbackBodyType::ALL
                .into_iter()
                .find(|body_type| body_type.as_str() == name)
                .ok_or(CALLBACK_BODY_TYPE_UNKNOWN)?,
            Some(_) => return Err(CALLBACK_BODY_TYPE.into()),
        };
        let sni = match get("callbackSNI") {
            None => false,
            Some(Value::Bool(sni)) => *sni,
            Some(_) => return Err(CALLBACK_SNI.into()),
        };
        // Version 2.0 is by invitation, and not described.
        if get("signatureVersion").is_some_and(|version| version != "1.0") {
            return Err(CALLBACK_SIGNATURE_VERSION.into());
        }
        let headers = get("additionalHeaders")
            .map(headers::parse)
            .transpose()?
            .unwrap_or_default();
        let template = Template::parse(body)
            .ok_or_else(|| Fault::Argument(CALLBACK_TEMPLATE.argument("ReplaceKeyPrefix", body)))?;
        let directive = Self {
            urls: Vec::new(),
            host,
            template,
            body_type,
            sni,
            headers,
            variables: Vec::new(),
            json: String::new(),
        };
        Ok((directive, urls))
    }
}

/// A refusal, with or without what it is about.
enum Fault {
    Plain(OssError),
    Argument(OssError),
}

impl From<OssError> for Fault {
    fn from(error: OssError) -> Self {
        Self::Plain(error)
    }
}

/// Custom variables in one piece: JSON of names and texts. Every name begins with `x:`.
///
/// A form has a field of its own for each variable, so nothing is taken from its `callback-var`, but OSS is said to
/// look at it.
pub(crate) fn variables(encoded: &str) -> Result<Vec<(String, String)>, OssError> {
    if encoded.len() > MAX_ENCODED {
        return Err(CALLBACK_VAR_LENGTH.argument("callback-var", encoded));
    }
    let refuse = || CALLBACK_VAR.argument("callback-var", encoded);
    let json = STANDARD.decode(encoded).map_err(|_| refuse())?;
    let map: BTreeMap<String, String> = serde_json::from_slice(&json).map_err(|_| refuse())?;
    if map.keys().all(|name| name.starts_with("x:")) {
        Ok(map.into_iter().collect())
    } else {
        Err(refuse())
    }
}
