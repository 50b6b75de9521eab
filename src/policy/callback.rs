//! The callback that OSS makes after an upload, and the three ways to ask for it.
//!
//! | file | content |
//! |---|---|
//! | `url` | callback URLs, validated by the rules of the callback layer |
//! | `template` | [`CallbackTemplate`]: the body, built from typed variables |

mod template;
#[cfg(test)]
mod tests;
mod url;

use std::{collections::BTreeMap, fmt, iter, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue};

use super::{
    document::to_json,
    error::{CallbackDirectiveError, FieldProblem},
    json::{push_escaped, push_string},
};
use crate::{
    callback::IssuedTarget,
    protocol::{CallbackBodyType, CallbackTarget, SystemVariable, TICKET_FIELD, TargetError},
    ticket::{BodyField, ledger::CallbackCall},
};

pub use template::CallbackTemplate;

use self::{template::CustomVariable, url::CallbackUrls};

/// Maximum length of the `callback` field in bytes of Base64 (EC 0007-00000001), and of
/// `callback-var` (EC 0007-00000101).
const MAX_ENCODED_LEN: usize = 5 * 1024;

/// The callback that OSS makes once an upload is stored: the `callback` field of a form, and its
/// custom variables. Other kinds of upload send it as [headers](Self::headers) or as
/// [query parameters](Self::query_pairs).
///
/// OSS receives the URL exactly as it is written here. Its path must not be one that the
/// [callback layer](crate::OssCallbackLayer) always rejects. An ambiguous path is accepted by a
/// layer with tickets, because the ticket names it, and otherwise only by one whose
/// [`only_path`](crate::OssCallbackLayer::only_path) names it; see [`CallbackTarget`].
///
/// ```
/// use tower_aliyun_oss::policy::{CallbackTemplate, CallbackDirective};
/// use tower_aliyun_oss::protocol::CallbackBodyType;
///
/// let body = CallbackTemplate::standard(CallbackBodyType::Json).custom("x:uid", "7")?;
/// let callback = CallbackDirective::new("https://app.example/oss/callback")?.body(body)?;
/// assert_eq!(callback.target().as_str(), "/oss/callback");
/// assert!(callback.variables().eq([("x:uid", "7")]));
///
/// assert!(CallbackDirective::new("https://app.example/a%0Ab").is_err());
/// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
/// ```
///
/// # Limits
///
/// OSS rejects an upload with 400 if the host of its callback does not resolve (EC 0007-00000007)
/// or has a private address (EC 0007-00000008). This type checks neither: it resolves no names, and
/// during development a private address is what you want.
///
/// Source: the [Callback] page of the OSS API reference.
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone)]
pub struct CallbackDirective {
    urls: CallbackUrls,
    host: Option<Arc<str>>,
    body: CallbackTemplate,
    /// Custom variables that the body does not declare.
    variables: Vec<CustomVariable>,
    encoded: Arc<str>,
    parts: Arc<Parts>,
}

/// The callback parameters around the place where an upload adds fields to the body.
#[derive(Default)]
struct Parts {
    /// What precedes the place, in Base64, up to its last multiple of three bytes.
    head: String,
    /// The rest of what precedes the place.
    head_rest: String,
    tail: String,
}

impl CallbackDirective {
    /// Creates a callback to one URL with the [body of the sample
    /// servers](CallbackTemplate::sample).
    ///
    /// As in OSS, `http://` is optional. For `https://`, OSS is asked to send the host name in the
    /// TLS handshake (`callbackSNI`); most servers need it to select their certificate.
    ///
    /// # Errors
    ///
    /// Fails if OSS would not call the URL, if its path is [impossible](CallbackTarget), or if
    /// the parameters exceed the 5 KiB of Base64 that OSS accepts.
    pub fn new(url: &str) -> Result<Self, CallbackDirectiveError> {
        Self::with_parsed(CallbackUrls::one(url)?)
    }

    /// Creates a callback to one to five URLs. OSS calls them in this order until one responds with
    /// success. Otherwise like [`new`](Self::new).
    ///
    /// `callbackSNI` is set if at least one URL starts with `https://`.
    ///
    /// # Errors
    ///
    /// Fails if there is no URL or there are more than five; if OSS would not call one of them, or
    /// its path is [impossible](CallbackTarget); if two of them can have the same signed text; if
    /// the parameters exceed the 5 KiB of Base64 that OSS accepts.
    pub fn with_urls<I>(urls: I) -> Result<Self, CallbackDirectiveError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Self::with_parsed(CallbackUrls::several(urls)?)
    }

    fn with_parsed(urls: CallbackUrls) -> Result<Self, CallbackDirectiveError> {
        let directive = Self {
            urls,
            host: None,
            body: CallbackTemplate::sample(),
            variables: Vec::new(),
            encoded: Arc::default(),
            parts: Arc::default(),
        };
        directive.encode()
    }

    /// Sets the `Host` header of the callback; defaults to the host of the URL.
    ///
    /// # Errors
    ///
    /// Fails if the host is neither a domain name nor an IPv4 address, or if the parameters exceed
    /// the length that OSS accepts.
    pub fn host(mut self, host: &str) -> Result<Self, CallbackDirectiveError> {
        if !url::is_host(host) {
            return Err(CallbackDirectiveError::CallbackHost);
        }
        self.host = Some(host.into());
        self.encode()
    }

    /// Replaces the body of the callback, and the custom variables that the previous body declared.
    ///
    /// # Errors
    ///
    /// Fails if the body has no fields, if it declares a custom variable that
    /// [`variable`](Self::variable) has added, or if the parameters or the custom variables exceed
    /// the 5 KiB of Base64 that OSS accepts for each.
    pub fn body(mut self, body: CallbackTemplate) -> Result<Self, CallbackDirectiveError> {
        if body.is_empty() {
            return Err(CallbackDirectiveError::EmptyBody);
        }
        self.body = body;
        // The variables added with `variable` outlive the body, and a form carries each name once.
        for variable in &self.variables {
            let (name, _) = variable.pair();
            if self.body.variables().any(|(known, _)| known == name) {
                return Err(duplicate(name));
            }
        }
        check_variables(self.variables())?;
        self.encode()
    }

    /// Adds a custom variable that the body does not declare, with the value that every upload must
    /// send for it.
    ///
    /// OSS ignores the variable unless the body contains `${x:…}`; [`CallbackTemplate::custom`]
    /// adds the variable and the field together.
    ///
    /// # Errors
    ///
    /// Fails if the name is not `x:` followed by lower-case letters, digits, `-`, `_` or `.`, or is
    /// already used; if the value contains `${` or a control character; if the custom variables
    /// exceed the 5 KiB of Base64 that OSS accepts.
    pub fn variable(mut self, name: &str, value: &str) -> Result<Self, CallbackDirectiveError> {
        let variable = CustomVariable::new(name, value)?;
        if self.variables().any(|(known, _)| known == name) {
            return Err(duplicate(name));
        }
        self.variables.push(variable);
        check_variables(self.variables())?;
        Ok(self)
    }

    /// Adds fields for those of these variables that the body lacks, under the names of OSS.
    pub(super) fn with_system_variables(
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

    /// Returns the value of the form field `callback` for one upload: with fields for its custom
    /// variables, and its ticket.
    ///
    /// This runs for every token. It borrows what all uploads have in common, and checks only what
    /// this upload adds.
    pub(super) fn encode_for(
        &self,
        variables: &[(Box<str>, Box<str>)],
        ticket: Option<&str>,
    ) -> Result<String, CallbackDirectiveError> {
        let Parts {
            head,
            head_rest,
            tail,
        } = &*self.parts;
        // A variable is written twice, with eleven bytes around it.
        let names: usize = variables.iter().map(|(name, _)| 2 * name.len() + 11).sum();
        let ticket_len = ticket.map_or(0, |ticket| TICKET_FIELD.len() + ticket.len() + 11);
        let mut json = String::with_capacity(head_rest.len() + names + ticket_len + tail.len());
        json.push_str(head_rest);
        self.body.push_additions(&mut json, variables, ticket)?;
        json.push_str(tail);
        // The own variables were checked when they were added; a ticket is not a variable.
        if !variables.is_empty() {
            for known in &self.variables {
                let (known, _) = known.pair();
                if variables.iter().any(|(name, _)| **name == *known) {
                    return Err(duplicate(known));
                }
            }
            check_variables(self.variables_with(variables))?;
        }
        let mut encoded = String::with_capacity(head.len() + json.len().div_ceil(3) * 4);
        encoded.push_str(head);
        STANDARD.encode_string(json, &mut encoded);
        check_len(encoded)
    }

    /// Returns the call that OSS makes for one upload with these additions, which
    /// [`encode_for`](Self::encode_for) has accepted.
    pub(super) fn call_for(
        &self,
        variables: &[(Box<str>, Box<str>)],
        ticket: Option<&str>,
    ) -> CallbackCall {
        let (host, target) = self.urls.first_call();
        let host = self.host.as_deref().unwrap_or(host);
        let template = self.body.with_additions(variables, ticket);
        CallbackCall::new(&target, host, self.body_type(), &template)
            .variables(self.variables_with(variables))
    }

    /// Returns the fields of the body of one upload with these additions and a ticket.
    pub(super) fn sealed_fields<'a>(
        &'a self,
        variables: &'a [(Box<str>, Box<str>)],
    ) -> impl Iterator<Item = BodyField<'a>> {
        self.body.sealed_fields(variables)
    }

    /// Returns the callback of one upload that is not a form, with the same additions.
    pub(super) fn for_upload(
        &self,
        variables: &[(Box<str>, Box<str>)],
        ticket: Option<&str>,
    ) -> Result<Self, CallbackDirectiveError> {
        let mut body = self.body.clone();
        for (name, value) in variables {
            body = body.custom(name, value)?;
        }
        if let Some(ticket) = ticket {
            body = body.constant(TICKET_FIELD, ticket)?;
        }
        self.clone().body(body)
    }

    /// Returns the encoding of the callback body.
    #[must_use]
    pub fn body_type(&self) -> CallbackBodyType {
        self.body.body_type()
    }

    /// Returns the custom variables, each a separate form field: names, which include `x:`, and
    /// values. Those of the body come first.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables_with(&[])
    }

    /// Returns all custom variables of an upload that adds these to the body.
    pub(super) fn variables_with<'a>(
        &'a self,
        added: &'a [(Box<str>, Box<str>)],
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let added = added.iter().map(|(name, value)| (&**name, &**value));
        let others = self.variables.iter().map(CustomVariable::pair);
        self.body.variables().chain(added).chain(others)
    }

    /// Returns the target of the first URL, which OSS calls and signs; `/` if the URL has no path.
    #[must_use]
    pub fn target(&self) -> &CallbackTarget {
        self.urls.first()
    }

    /// Returns the targets of all URLs, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &CallbackTarget> {
        self.urls.targets()
    }

    /// Returns the rule that makes one of the targets ambiguous. Only a ticket or
    /// [`only_path`](crate::OssCallbackLayer::only_path) names such a target to a layer.
    pub(crate) fn ambiguity(&self) -> Option<TargetError> {
        self.targets()
            .find_map(|target| CallbackTarget::canonical(target.path_and_query().clone()).err())
    }

    pub(crate) fn issued_targets(&self) -> Arc<[IssuedTarget]> {
        self.urls.issued()
    }

    /// Returns the value of the form field `callback`: Base64 of JSON.
    #[must_use]
    pub fn encoded(&self) -> &str {
        &self.encoded
    }

    /// Writes the callback parameters in the order of the API reference, which the sample servers
    /// use too.
    fn encode(mut self) -> Result<Self, CallbackDirectiveError> {
        let mut head = String::from("{\"callbackUrl\":");
        push_string(&mut head, self.urls.as_str());
        if let Some(host) = &self.host {
            head.push_str(",\"callbackHost\":");
            push_string(&mut head, host);
        }
        head.push_str(",\"callbackBody\":\"");
        let (body, end) = self.body.split_end();
        push_escaped(&mut head, body);
        let mut tail = String::from(end);
        tail.push_str("\",\"callbackBodyType\":");
        push_string(&mut tail, self.body.body_type().as_str());
        if self.urls.https() {
            tail.push_str(",\"callbackSNI\":true");
        }
        tail.push('}');

        self.encoded = check_len(STANDARD.encode([&*head, &*tail].concat()))?.into();
        // All of it is ASCII but for constants in JSON, so a character can lie across the boundary.
        let mut at = head.len() / 3 * 3;
        while !head.is_char_boundary(at) {
            at -= 3;
        }
        let (start, rest) = head.split_at(at);
        self.parts = Arc::new(Parts {
            head: STANDARD.encode(start),
            head_rest: rest.to_owned(),
            tail,
        });
        Ok(self)
    }
}

fn check_len(encoded: String) -> Result<String, CallbackDirectiveError> {
    if encoded.len() > MAX_ENCODED_LEN {
        return Err(CallbackDirectiveError::TooLong(encoded.len()));
    }
    Ok(encoded)
}

/// # Uploads that are not forms
///
/// `PutObject` and `CompleteMultipartUpload` take a callback in their headers **or** in the query
/// of their URL. Use this for uploads that a server makes itself, with any SDK, and for URLs that
/// it signs for a client.
///
/// OSS rejects a request that has both. The signature of the request must cover the headers or
/// parameters: pass them to the SDK before it signs. In a URL they must be percent-encoded, which
/// an SDK does itself.
impl CallbackDirective {
    /// Returns the custom variables as `x-oss-callback-var` and `callback-var` carry them: Base64
    /// of JSON. `None` if there are none.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::CallbackDirective;
    ///
    /// let callback = CallbackDirective::new("https://app.example/oss/callback")?;
    /// assert_eq!(callback.encoded_variables(), None);
    /// let callback = callback.variable("x:uid", "7")?;
    /// assert_eq!(callback.encoded_variables().as_deref(), Some("eyJ4OnVpZCI6IjcifQ=="));
    /// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
    /// ```
    #[must_use]
    pub fn encoded_variables(&self) -> Option<String> {
        self.encoded_variables_with(&[])
    }

    /// Returns the custom variables of an upload that adds these to the body.
    pub(super) fn encoded_variables_with(&self, added: &[(Box<str>, Box<str>)]) -> Option<String> {
        // Sorted by name, so that the encoding does not depend on the order of the calls.
        let variables: BTreeMap<_, _> = self.variables_with(added).collect();
        if variables.is_empty() {
            return None;
        }
        Some(STANDARD.encode(to_json(&variables)))
    }

    /// Returns `x-oss-callback`, and `x-oss-callback-var` if there are custom variables. The values
    /// are marked sensitive, because they may contain a ticket.
    ///
    /// ```
    /// use http::Request;
    /// use tower_aliyun_oss::policy::CallbackDirective;
    ///
    /// let url = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com/a.txt";
    /// let callback = CallbackDirective::new("https://app.example/oss/callback")?
    ///     .variable("x:uid", "7")?;
    /// let mut request = Request::put(url).body("hello")?;
    /// request.headers_mut().extend(callback.headers());
    /// assert_eq!(request.headers()["x-oss-callback"], callback.encoded());
    /// assert_eq!(request.headers()["x-oss-callback-var"], "eyJ4OnVpZCI6IjcifQ==");
    /// // Now sign it.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let names = ["x-oss-callback", "x-oss-callback-var"].map(HeaderName::from_static);
        names.into_iter().zip(self.values()).map(|(name, value)| {
            #[expect(clippy::expect_used, reason = "Base64 is visible ASCII")]
            let mut value = HeaderValue::try_from(value).expect("Base64 is a valid header value");
            value.set_sensitive(true);
            (name, value)
        })
    }

    /// Returns `callback`, and `callback-var` if there are custom variables; the values are not
    /// percent-encoded.
    ///
    /// ```
    /// use tower_aliyun_oss::policy::CallbackDirective;
    ///
    /// let callback = CallbackDirective::new("https://app.example/oss/callback")?;
    /// let parameters: Vec<_> = callback.query_pairs().collect();
    /// assert_eq!(parameters, [("callback", callback.encoded().to_owned())]);
    /// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (&'static str, String)> {
        ["callback", "callback-var"].into_iter().zip(self.values())
    }

    fn values(&self) -> impl Iterator<Item = String> {
        iter::once(self.encoded().to_owned()).chain(self.encoded_variables())
    }
}

impl fmt::Debug for CallbackDirective {
    /// Omits the values of fields and variables: they may be confidential.
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

/// Checks the length of the custom variables as one encoded value.
///
/// OSS limits that value only where it is sent in one piece. The limit applies to form fields here
/// too, so that one directive works for every kind of upload.
fn check_variables<'a>(
    variables: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), CallbackDirectiveError> {
    let variables: BTreeMap<_, _> = variables.collect();
    if variables.is_empty() {
        return Ok(());
    }
    let length = to_json(&variables).len().div_ceil(3) * 4;
    if length > MAX_ENCODED_LEN {
        return Err(CallbackDirectiveError::VariablesTooLong(length));
    }
    Ok(())
}

fn duplicate(name: &str) -> CallbackDirectiveError {
    CallbackDirectiveError::field(name, FieldProblem::Repeated)
}
