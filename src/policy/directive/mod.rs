//! What OSS is told to call after an upload.
//!
//! | file | what it does |
//! |---|---|
//! | `url` | the addresses, held to the rules of the layer |
//! | `template` | [`CallbackBody`]: the body, made of typed variables |
//! | `variable` | names of fields, and custom variables |
//! | `request` | the same as headers, and as parameters of a URL |
//! | `error` | [`CallbackDirectiveError`], [`CallbackFieldError`] |

mod error;
mod request;
mod template;
#[cfg(test)]
mod tests;
mod url;
mod variable;

use std::{collections::BTreeMap, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::protocol::{CallbackBodyType, CallbackTarget, SystemVariable, TICKET_FIELD};

pub use error::{CallbackDirectiveError, CallbackFieldError, CallbackFieldErrorKind};
pub use template::CallbackBody;

use self::{url::CallbackUrls, variable::CustomVariable};

/// The longest `callback` field OSS takes, in bytes of Base64 (EC 0007-00000001), and the longest `callback-var`
/// (EC 0007-00000101).
const MAX_ENCODED_LEN: usize = 5 * 1024;

/// What OSS is told to call once an upload is stored: the `callback` field of a form, and the custom variables that go
/// with it. As [headers](Self::headers) or [parameters](Self::query_pairs) it goes with any other upload.
///
/// The URL is sent exactly as it is given here. It is held to the rules that the
/// [layer](crate::OssCallbackLayer) enforces on the other side, so no callback is asked for that would be refused.
///
/// ```
/// use tower_aliyun_oss::policy::{CallbackBody, CallbackDirective};
/// use tower_aliyun_oss::protocol::CallbackBodyType;
///
/// let body = CallbackBody::standard(CallbackBodyType::Json).custom("x:uid", "7")?;
/// let callback = CallbackDirective::new("https://app.example/oss/callback")?.body(body)?;
/// assert_eq!(callback.target().as_str(), "/oss/callback");
/// assert!(callback.variables().eq([("x:uid", "7")]));
///
/// assert!(CallbackDirective::new("https://app.example/a%2Fb").is_err());
/// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
/// ```
///
/// # Limits
///
/// OSS answers 400 to an upload whose callback names a host that does not resolve (EC 0007-00000007) or has a private
/// address (EC 0007-00000008). Neither is checked here: nothing is looked up, and on your own machine a private
/// address is what you want.
///
/// Source: the [Callback] page of the OSS API reference.
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone)]
pub struct CallbackDirective {
    urls: CallbackUrls,
    host: Option<Arc<str>>,
    body: CallbackBody,
    /// Besides those of the body.
    variables: Vec<CustomVariable>,
    encoded: Arc<str>,
}

/// In the order of the reference, which is that of the sample servers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a> {
    callback_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    callback_host: Option<&'a str>,
    callback_body: &'a str,
    callback_body_type: &'static str,
    #[serde(rename = "callbackSNI", skip_serializing_if = "std::ops::Not::not")]
    callback_sni: bool,
}

impl CallbackDirective {
    /// One URL, called with the [body of the sample servers](CallbackBody::sample).
    ///
    /// `http://` may be left out, as OSS allows. With `https://`, OSS is told to send the name of the host in the TLS
    /// handshake (`callbackSNI`), without which most servers do not know their certificate.
    ///
    /// # Errors
    ///
    /// When the URL is none that OSS would call, its path is not [canonical](CallbackTarget), or the whole is longer
    /// than the 5 KiB of Base64 that OSS takes.
    pub fn new(url: &str) -> Result<Self, CallbackDirectiveError> {
        Self::calling(CallbackUrls::one(url)?)
    }

    /// One to five URLs, which OSS calls in this order until one of them answers with success; else like
    /// [`new`](Self::new).
    ///
    /// `callbackSNI` is set when one of them at least begins with `https://`.
    ///
    /// # Errors
    ///
    /// When there is none or more than five; when one is none that OSS would call, or its path is not
    /// [canonical](CallbackTarget); when the whole is longer than the 5 KiB of Base64 that OSS takes.
    pub fn with_urls<I>(urls: I) -> Result<Self, CallbackDirectiveError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Self::calling(CallbackUrls::several(urls)?)
    }

    fn calling(urls: CallbackUrls) -> Result<Self, CallbackDirectiveError> {
        let directive = Self {
            urls,
            host: None,
            body: CallbackBody::sample(),
            variables: Vec::new(),
            encoded: Arc::default(),
        };
        directive.write()
    }

    /// The `Host` header of the callback; that of the URL by default.
    ///
    /// # Errors
    ///
    /// When it is neither a domain name nor an IPv4 address, or makes the whole longer than OSS takes.
    pub fn host(mut self, host: &str) -> Result<Self, CallbackDirectiveError> {
        if !url::is_host(host) {
            return Err(CallbackDirectiveError::CallbackHost);
        }
        self.host = Some(host.into());
        self.write()
    }

    /// The body of the callback, instead of the one it has; with it go the custom variables it declares.
    ///
    /// # Errors
    ///
    /// When the body has no fields, when it declares a custom variable that [`variable`](Self::variable) has added, or
    /// when the whole, or the custom variables, are longer than the 5 KiB of Base64 that OSS takes for each.
    pub fn body(mut self, body: CallbackBody) -> Result<Self, CallbackDirectiveError> {
        if body.is_empty() {
            return Err(CallbackDirectiveError::EmptyBody);
        }
        self.body = body;
        for variable in &self.variables {
            let (name, _) = variable.pair();
            if self.body.variables().any(|(known, _)| known == name) {
                return Err(duplicate(name));
            }
        }
        self.check_variables()?;
        self.write()
    }

    /// A custom variable that the body does not declare, with the value that every upload must send for it.
    ///
    /// OSS ignores it unless `${x:…}` stands in the body; [`CallbackBody::custom`] does both at once.
    ///
    /// # Errors
    ///
    /// When the name is not `x:` and lower-case letters, digits, `-`, `_` or `.`, or was given before; when the value
    /// holds `${` or a control character; when the custom variables are longer than the 5 KiB of Base64 that OSS takes.
    pub fn variable(mut self, name: &str, value: &str) -> Result<Self, CallbackDirectiveError> {
        let variable = CustomVariable::new(name, value)?;
        if self.variables().any(|(known, _)| known == name) {
            return Err(duplicate(name));
        }
        self.variables.push(variable);
        self.check_variables()?;
        Ok(self)
    }

    /// The same, with more custom variables in the body.
    pub(super) fn with_custom(
        self,
        variables: &[(Box<str>, Box<str>)],
    ) -> Result<Self, CallbackDirectiveError> {
        let mut body = self.body.clone();
        for (name, value) in variables {
            body = body.custom(name, value)?;
        }
        self.body(body)
    }

    /// The same, with those of these variables in the body that it lacks.
    pub(super) fn with_variables(
        self,
        variables: &[SystemVariable],
    ) -> Result<Self, CallbackDirectiveError> {
        let mut body = self.body.clone();
        for variable in variables {
            if !body.has(variable.name()) {
                body = body.variable(variable.name(), *variable)?;
            }
        }
        self.body(body)
    }

    /// The same, with this ticket in the body.
    pub(super) fn with_ticket(self, ticket: &str) -> Result<Self, CallbackDirectiveError> {
        let body = self.body.clone().constant(TICKET_FIELD, ticket)?;
        self.body(body)
    }

    /// How OSS writes the body.
    #[must_use]
    pub fn body_type(&self) -> CallbackBodyType {
        self.body.body_type()
    }

    /// The custom variables, each a form field of its own: names with their `x:`, and values. Those of the body come
    /// first.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let others = self.variables.iter().map(CustomVariable::pair);
        self.body.variables().chain(others)
    }

    /// The target of the first URL, that OSS will call and sign; `/` when the URL has no path.
    #[must_use]
    pub fn target(&self) -> &CallbackTarget {
        self.urls.first()
    }

    /// The targets of all URLs, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &CallbackTarget> {
        self.urls.targets()
    }

    /// The value of the form field `callback`: Base64 of JSON.
    #[must_use]
    pub fn encoded(&self) -> &str {
        &self.encoded
    }

    /// OSS holds the variables to this length where they come in one piece; as form fields they are held to it too, so
    /// that every way to upload works.
    fn check_variables(&self) -> Result<(), CallbackDirectiveError> {
        let variables: BTreeMap<_, _> = self.variables().collect();
        let json = serde_json::to_vec(&variables).map_err(|_| CallbackDirectiveError::Serialize)?;
        let length = json.len().div_ceil(3) * 4;
        if length > MAX_ENCODED_LEN {
            return Err(CallbackDirectiveError::VariablesTooLong(length));
        }
        Ok(())
    }

    fn write(mut self) -> Result<Self, CallbackDirectiveError> {
        let parameters = Parameters {
            callback_url: self.urls.as_str(),
            callback_host: self.host.as_deref(),
            callback_body: self.body.template(),
            callback_body_type: self.body.body_type().as_str(),
            callback_sni: self.urls.https(),
        };
        let json =
            serde_json::to_vec(&parameters).map_err(|_| CallbackDirectiveError::Serialize)?;
        let encoded = STANDARD.encode(json);
        if encoded.len() > MAX_ENCODED_LEN {
            return Err(CallbackDirectiveError::TooLong(encoded.len()));
        }
        self.encoded = encoded.into();
        Ok(self)
    }
}

fn duplicate(name: &str) -> CallbackDirectiveError {
    CallbackFieldError::new(CallbackFieldErrorKind::Duplicate, name).into()
}

impl fmt::Debug for CallbackDirective {
    /// Leaves the values of fields and variables out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables().map(|(name, _)| name).collect();
        f.debug_struct("CallbackDirective")
            .field("urls", &self.urls.as_str())
            .field("host", &self.host)
            .field("body", &self.body)
            .field("variables", &names)
            .finish_non_exhaustive()
    }
}
