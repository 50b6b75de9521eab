//! What OSS writes into the body of a callback.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{
    error::{CallbackFieldError, CallbackFieldErrorKind as Kind},
    variable::{CustomVariable, check_name, check_text},
};
use crate::protocol::{CUSTOM_PREFIX, CallbackBodyType, SystemVariable};

/// The names that Alibaba's sample application servers give to variables.
const SAMPLE: [(&str, SystemVariable); 5] = [
    ("filename", SystemVariable::Object),
    ("size", SystemVariable::Size),
    ("mimeType", SystemVariable::MimeType),
    ("height", SystemVariable::ImageHeight),
    ("width", SystemVariable::ImageWidth),
];

/// Everything but the unreserved characters of RFC 3986; a space is `%20`, which every decoder reads as one.
const CONSTANT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The body of a callback: fields that OSS fills in, and fields that stand as they are.
///
/// It is made of typed variables, never of text with `${…}` in it, so what a user has chosen is a value and cannot
/// become a variable, a second field, or the end of the body.
///
/// ```
/// use tower_aliyun_oss::{policy::CallbackBody, protocol::SystemVariable};
///
/// let body = CallbackBody::json()
///     .variable("object", SystemVariable::Object)?
///     .variable("size", SystemVariable::Size)?
///     .custom("x:uid", "7")?
///     .constant("note", "50% \"off\" & free")?;
/// assert_eq!(
///     body.template(),
///     r#"{"object":${object},"size":${size},"x:uid":${x:uid},"note":"50% \"off\" & free"}"#
/// );
/// # Ok::<(), tower_aliyun_oss::policy::CallbackFieldError>(())
/// ```
///
/// # Names
///
/// A name is 1 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`, and stands once. A name that OSS gives to a variable
/// of its own is kept for that variable, and names that begin with `x:` are kept for custom variables and constants, so
/// [`UploadEvent`](crate::callback::UploadEvent) reads back what is meant. It finds variables under the names of OSS
/// and `x:` fields; fields of names of your own, as the sample servers have them, are read with
/// [`event_as`](crate::callback::VerifiedCallback::event_as).
///
/// # Limits
///
/// OSS takes 5 KiB of Base64 for the whole of the callback parameters, which is checked when a
/// [`CallbackDirective`](super::CallbackDirective) takes the body. In JSON, OSS writes an empty number as nothing at
/// all (`"height":,`), which this crate reads and other parsers of JSON do not; a form has no such trouble.
///
/// Source: the [Callback] page of the OSS API reference.
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone, Eq, PartialEq)]
pub struct CallbackBody {
    body_type: CallbackBodyType,
    /// Complete after each field.
    template: String,
    names: Vec<Box<str>>,
    custom: Vec<CustomVariable>,
}

impl CallbackBody {
    /// A form without fields: `application/x-www-form-urlencoded`, the default of OSS.
    #[must_use]
    pub fn form() -> Self {
        Self::new(CallbackBodyType::Form)
    }

    /// A JSON object without members: `application/json`.
    #[must_use]
    pub fn json() -> Self {
        Self::new(CallbackBodyType::Json)
    }

    /// A body of this type, without fields.
    #[must_use]
    pub fn new(body_type: CallbackBodyType) -> Self {
        let template = match body_type {
            CallbackBodyType::Form => "",
            CallbackBodyType::Json => "{}",
        };
        Self {
            body_type,
            template: template.into(),
            names: Vec::new(),
            custom: Vec::new(),
        }
    }

    /// Every variable that OSS knows, under its own name: all that an
    /// [`UploadEvent`](crate::callback::UploadEvent) can hold.
    #[must_use]
    pub fn standard(body_type: CallbackBodyType) -> Self {
        let named = SystemVariable::ALL.map(|variable| (variable.name(), variable));
        Self::new(body_type).with(&named)
    }

    /// The form of Alibaba's sample application servers: `filename`, `size`, `mimeType`, `height` and `width`.
    #[must_use]
    pub fn sample() -> Self {
        Self::form().with(&SAMPLE)
    }

    /// A field that OSS fills with one of its own variables.
    ///
    /// # Errors
    ///
    /// When the [name](Self#names) is none, was given before, belongs to another variable, or begins with `x:`.
    pub fn variable(
        mut self,
        name: &str,
        variable: SystemVariable,
    ) -> Result<Self, CallbackFieldError> {
        self.check(name, Some(variable))?;
        self.push(name, &placeholder(variable.name()));
        Ok(self)
    }

    /// A field for a custom variable, and the value that every upload must send for it.
    ///
    /// The uploader sends the value as a form field of its own, and the policy pins it. It is a field of the same name
    /// as the variable, and so it is in [`UploadEvent`](crate::callback::UploadEvent::custom). An empty value is read
    /// back as none.
    ///
    /// # Errors
    ///
    /// When the name is not `x:` and lower-case letters, digits, `-`, `_` or `.`, or was given before; when the value
    /// holds `${` or a control character, of which line breaks are the ones that browsers change.
    pub fn custom(mut self, name: &str, value: &str) -> Result<Self, CallbackFieldError> {
        let variable = CustomVariable::new(name, value)?;
        self.check(name, None)?;
        self.push(name, &placeholder(name));
        self.custom.push(variable);
        Ok(self)
    }

    /// A field that has this value whatever is uploaded: percent-encoded in a form, a string in JSON.
    ///
    /// The uploader can read it, but not change it once the policy pins the callback. Unlike a custom variable it needs
    /// no field of the form, and it takes any text but the one below.
    ///
    /// # Errors
    ///
    /// When the [name](Self#names) is none, was given before, or belongs to a variable of OSS; when the value holds
    /// `${`. Anything else is read back exactly, a lone `$` too.
    pub fn constant(mut self, name: &str, value: &str) -> Result<Self, CallbackFieldError> {
        self.check(name, None)?;
        check_text(name, value)?;
        let written = match self.body_type {
            CallbackBodyType::Form => utf8_percent_encode(value, CONSTANT).to_string(),
            // OSS takes a `$` without a brace for a mistake (EC 0007-00000105).
            CallbackBodyType::Json => Value::from(value).to_string().replace('$', "\\u0024"),
        };
        self.push(name, &written);
        Ok(self)
    }

    /// How the body is written.
    #[must_use]
    pub fn body_type(&self) -> CallbackBodyType {
        self.body_type
    }

    /// The value of `callbackBody`, with the placeholders that OSS fills.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The custom variables of the body: names with their `x:`, and values.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.custom.iter().map(CustomVariable::pair)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Fields whose names are known to be good.
    fn with(mut self, fields: &[(&str, SystemVariable)]) -> Self {
        for (name, variable) in fields {
            self.push(name, &placeholder(variable.name()));
        }
        self
    }

    fn check(
        &self,
        name: &str,
        variable: Option<SystemVariable>,
    ) -> Result<(), CallbackFieldError> {
        check_name(name)?;
        let owner = SystemVariable::from_name(name);
        let stolen = owner.is_some() && owner != variable;
        if stolen || (variable.is_some() && name.starts_with(CUSTOM_PREFIX)) {
            return Err(CallbackFieldError::new(Kind::Reserved, name));
        }
        if self.has(name) {
            return Err(CallbackFieldError::new(Kind::Duplicate, name));
        }
        Ok(())
    }

    /// A name that has been checked, and a value that is written for its place.
    fn push(&mut self, name: &str, value: &str) {
        let first = self.names.is_empty();
        match self.body_type {
            CallbackBodyType::Form => {
                let separator = if first { "" } else { "&" };
                self.template.extend([separator, name, "=", value]);
            }
            CallbackBodyType::Json => {
                let separator = if first { "\"" } else { ",\"" };
                self.template.pop();
                self.template.extend([separator, name, "\":", value, "}"]);
            }
        }
        self.names.push(name.into());
    }
}

impl fmt::Debug for CallbackBody {
    /// Leaves the values out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackBody")
            .field("body_type", &self.body_type)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Without quotes, in JSON too: OSS writes them itself where the value is a string.
fn placeholder(variable: &str) -> String {
    format!("${{{variable}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(CallbackBody::form().template(), "");
        assert_eq!(
            CallbackBody::sample().template(),
            "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}"
        );
        let body = CallbackBody::form()
            .variable("size", SystemVariable::Size)
            .and_then(|body| body.custom("x:uid", "7"))
            .and_then(|body| body.constant("note", "a b&c=$d+\n%中-._~"))
            .unwrap();
        assert_eq!(
            body.template(),
            "size=${size}&x:uid=${x:uid}&note=a%20b%26c%3D%24d%2B%0A%25%E4%B8%AD-._~"
        );
        assert!(body.variables().eq([("x:uid", "7")]));
    }

    #[test]
    fn json() {
        assert_eq!(CallbackBody::json().template(), "{}");
        let body = CallbackBody::json()
            .variable("size", SystemVariable::Size)
            .and_then(|body| body.custom("x:uid", "7"))
            .and_then(|body| body.constant("note", "\"\\$d\n\0中"))
            .unwrap();
        assert_eq!(
            body.template(),
            r#"{"size":${size},"x:uid":${x:uid},"note":"\"\\\u0024d\n\u0000中"}"#
        );
    }

    #[test]
    fn the_standard_body_has_every_variable_under_its_own_name() {
        let form = CallbackBody::standard(CallbackBodyType::Form);
        assert!(
            form.template()
                .starts_with("bucket=${bucket}&object=${object}&etag=${etag}&")
        );
        let json = CallbackBody::standard(CallbackBodyType::Json);
        assert!(
            json.template()
                .starts_with(r#"{"bucket":${bucket},"object":${object},"#)
        );
        for body in [form, json] {
            assert_eq!(body.names.len(), SystemVariable::ALL.len());
        }
    }

    #[test]
    fn fields_that_cannot_be() {
        let body = || {
            CallbackBody::standard(CallbackBodyType::Json)
                .custom("x:uid", "7")
                .unwrap()
        };
        let kind = |result: Result<CallbackBody, CallbackFieldError>| result.unwrap_err().kind();
        assert_eq!(kind(body().variable("", SystemVariable::Size)), Kind::Name);
        assert_eq!(kind(body().constant("a\"b", "")), Kind::Name);
        assert_eq!(kind(body().constant("x:UID", "")), Kind::CustomName);
        assert_eq!(kind(body().custom("uid", "")), Kind::CustomName);
        assert_eq!(
            kind(body().variable("size", SystemVariable::Size)),
            Kind::Duplicate
        );
        assert_eq!(kind(body().constant("x:uid", "8")), Kind::Duplicate);
        assert_eq!(kind(body().custom("x:uid", "7")), Kind::Duplicate);
        assert_eq!(kind(body().constant("a", "${object}")), Kind::Placeholder);
        assert_eq!(kind(body().custom("x:a", "${object}")), Kind::Placeholder);
        // What would be read as something it is not.
        assert_eq!(
            kind(CallbackBody::json().variable("size", SystemVariable::Object)),
            Kind::Reserved
        );
        assert_eq!(
            kind(CallbackBody::json().constant("object", "a.txt")),
            Kind::Reserved
        );
        assert_eq!(
            kind(CallbackBody::json().variable("x:size", SystemVariable::Size)),
            Kind::Reserved
        );
    }

    #[test]
    fn names_are_shown_and_values_are_not() {
        let body = CallbackBody::form()
            .constant("ticket", "canary")
            .and_then(|body| body.custom("x:uid", "canary"))
            .unwrap();
        let shown = format!("{body:?} {body:#?}");
        assert!(
            shown.contains("ticket") && shown.contains("x:uid"),
            "{shown}"
        );
        assert!(!shown.contains("canary"), "{shown}");
    }
}
