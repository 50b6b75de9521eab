//! OSS, as far as the server can see it: it fills in the callback body of a token, and signs it.

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use serde_json::{Map, Value};
use tower_aliyun_oss::{
    protocol::{CallbackBodyType, SystemVariable, TICKET_FIELD},
    testing::CallbackSigner,
};

use crate::{
    model::{HABITS, Oss},
    server::BUCKET,
    wire::Message,
};

static SIGNER: LazyLock<CallbackSigner> = LazyLock::new(CallbackSigner::new);

/// Which of the two callback bodies a token asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    Form,
    Json,
}

impl Format {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Form => "/form",
            Self::Json => "/json",
        }
    }

    fn body_type(self) -> CallbackBodyType {
        match self {
            Self::Form => CallbackBodyType::Form,
            Self::Json => CallbackBodyType::Json,
        }
    }
}

/// A token of the policy service.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) key: String,
    fields: Map<String, Value>,
    /// The parameters of the callback: `callbackUrl`, `callbackBody` and others.
    callback: Value,
}

impl Token {
    /// Reads a token. `None` if the text is anything else.
    pub(crate) fn parse(token: &Value) -> Option<Self> {
        let fields = token["fields"].as_object()?.clone();
        let callback = STANDARD.decode(fields.get("callback")?.as_str()?).ok()?;
        Some(Self {
            key: token["key"].as_str()?.to_owned(),
            callback: serde_json::from_slice(&callback).ok()?,
            fields,
        })
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or("")
    }

    pub(crate) fn format(&self) -> Format {
        match self.parameter("callbackBodyType") {
            "application/json" => Format::Json,
            _ => Format::Form,
        }
    }

    pub(crate) fn url(&self) -> &str {
        self.parameter("callbackUrl")
    }

    /// The ticket, which is a constant of the callback body. It consists of URL-safe Base64.
    pub(crate) fn ticket(&self) -> &str {
        let (_, rest) = self
            .parameter("callbackBody")
            .split_once(TICKET_FIELD)
            .unwrap();
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let rest = rest.trim_start_matches(|c| !is_base64(c));
        &rest[..rest.find(|c| !is_base64(c)).unwrap_or(rest.len())]
    }

    fn parameter(&self, name: &str) -> &str {
        self.callback[name].as_str().unwrap_or_default()
    }

    /// The callback body that OSS creates after this upload.
    pub(crate) fn body(&self, upload: &Upload) -> String {
        let system = [
            (SystemVariable::Bucket, upload.bucket.clone()),
            (SystemVariable::Object, upload.object.clone()),
            (SystemVariable::Etag, upload.etag.clone()),
            (SystemVariable::Size, upload.size.to_string()),
            (SystemVariable::MimeType, upload.content_type.clone()),
            (SystemVariable::ReqId, "5CF3E7820000000000000001".into()),
            (SystemVariable::ClientIp, "203.0.113.7".into()),
            (SystemVariable::Operation, "PostObject".into()),
            (SystemVariable::Crc64, "9223372036854775809".into()),
        ];
        let system: HashMap<_, _> = system.into_iter().collect();
        let custom = self
            .fields
            .iter()
            .filter(|(name, _)| name.starts_with("x:"));
        let oss = Oss {
            body_type: self.format().body_type(),
            system: &system,
            custom: custom
                .map(|(name, value)| (&**name, value.as_str().unwrap_or_default()))
                .collect(),
            habits: HABITS[upload.habits % HABITS.len()],
        };
        oss.fill(self.parameter("callbackBody"))
    }

    /// The signed callback after this upload.
    pub(crate) fn callback(&self, upload: &Upload) -> Message {
        sign(self.url(), self.format(), self.body(upload))
    }
}

/// What OSS knows about an upload.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) bucket: String,
    pub(crate) object: String,
    pub(crate) size: u64,
    pub(crate) content_type: String,
    pub(crate) etag: String,
    /// How OSS writes what its documentation leaves open.
    pub(crate) habits: usize,
}

impl Upload {
    pub(crate) fn new(object: &str, size: u64, seed: u64) -> Self {
        Self {
            bucket: BUCKET.into(),
            object: object.into(),
            size,
            content_type: "image/png".into(),
            etag: format!("{seed:032X}"),
            habits: seed as usize,
        }
    }
}

/// Signs a body as OSS does, whatever it is.
pub(crate) fn sign(url: &str, format: Format, body: String) -> Message {
    let builder = SIGNER.callback(url);
    let builder = match format {
        Format::Form => builder.form(body),
        Format::Json => builder.json(body),
    };
    let request: Request<Bytes> = builder.request().unwrap();
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    Message {
        method: "POST",
        target: request.uri().path_and_query().unwrap().as_str().to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect(),
        body: request.into_body().into(),
    }
}
