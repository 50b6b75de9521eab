//! The template of a callback body: fields that OSS fills in, custom variables, and constants.

use std::fmt;

use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::error::{CallbackFieldError, CallbackFieldErrorKind as Kind};
use crate::protocol::{
    CUSTOM_PREFIX, CallbackBodyType, SystemVariable, TICKET_FIELD, percent::UNRESERVED,
};

/// Maximum length of a field name in bytes, including the `x:` of a custom variable.
const MAX_NAME_LEN: usize = 64;

/// Start of a variable in a template.
const PLACEHOLDER: &str = "${";

/// Field names of Alibaba's sample application servers.
const SAMPLE: [(&str, SystemVariable); 5] = [
    ("filename", SystemVariable::Object),
    ("size", SystemVariable::Size),
    ("mimeType", SystemVariable::MimeType),
    ("height", SystemVariable::ImageHeight),
    ("width", SystemVariable::ImageWidth),
];

/// The body of a callback: fields that OSS fills in, and fields with a constant value.
///
/// A body consists of typed variables, never of text that contains `${…}`. Text from a user is
/// therefore always a value: it cannot become a variable, add a second field, or end the body.
///
/// ```
/// use tower_aliyun_oss::{policy::CallbackTemplate, protocol::SystemVariable};
///
/// let body = CallbackTemplate::json()
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
/// A name consists of 1 to 64 ASCII letters, digits, `-`, `_`, `.` or `:`, and is unique within the
/// body. The name of a variable of OSS is reserved for that variable. Names that start with `x:`
/// are reserved for custom variables and constants. [`UploadEvent`](crate::callback::UploadEvent)
/// therefore never misreads a field. It finds variables under the names of OSS, and `x:` fields.
/// Read fields with other names, such as those of the sample servers, with
/// [`event_as`](crate::callback::VerifiedCallback::event_as).
///
/// # Limits
///
/// OSS accepts 5 KiB of Base64 for all callback parameters together. A
/// [`CallbackDirective`](super::CallbackDirective) checks that limit when it takes the body. In
/// JSON, OSS writes a missing number as nothing (`"height":,`). This crate reads that; other JSON
/// parsers fail. A form does not have this problem.
///
/// Source: the [Callback] page of the OSS API reference.
///
/// [Callback]: https://www.alibabacloud.com/help/en/oss/developer-reference/callback
#[derive(Clone, Eq, PartialEq)]
pub struct CallbackTemplate {
    body_type: CallbackBodyType,
    /// A complete body after every added field.
    template: String,
    names: Vec<Box<str>>,
    custom: Vec<CustomVariable>,
}

impl CallbackTemplate {
    /// Creates a form without fields: `application/x-www-form-urlencoded`, the default of OSS.
    #[must_use]
    pub fn form() -> Self {
        Self::new(CallbackBodyType::Form)
    }

    /// Creates a JSON object without members: `application/json`.
    #[must_use]
    pub fn json() -> Self {
        Self::new(CallbackBodyType::Json)
    }

    /// Creates a body of this type without fields.
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

    /// Creates a body with every variable of OSS under its own name: everything that an
    /// [`UploadEvent`](crate::callback::UploadEvent) can contain.
    #[must_use]
    pub fn standard(body_type: CallbackBodyType) -> Self {
        let named = SystemVariable::ALL.map(|variable| (variable.name(), variable));
        Self::new(body_type).with_known(&named)
    }

    /// Creates the form of Alibaba's sample application servers: `filename`, `size`, `mimeType`,
    /// `height` and `width`.
    #[must_use]
    pub fn sample() -> Self {
        Self::form().with_known(&SAMPLE)
    }

    /// Adds a field that OSS fills with one of its variables.
    ///
    /// # Errors
    ///
    /// Fails if the [name](Self#names) is not valid, is already used, belongs to another variable,
    /// or starts with `x:`.
    pub fn variable(
        mut self,
        name: &str,
        variable: SystemVariable,
    ) -> Result<Self, CallbackFieldError> {
        self.check_free(name, Some(variable))?;
        self.push(name, &placeholder(variable.name()));
        Ok(self)
    }

    /// Adds a field for a custom variable, with the value that every upload must send for it.
    ///
    /// The uploader sends the value as a separate form field, and the policy requires exactly this
    /// value. The field has the name of the variable, so
    /// [`UploadEvent::custom`](crate::callback::UploadEvent::custom) contains it. An empty value is
    /// read back as absent.
    ///
    /// # Errors
    ///
    /// Fails if the name is not `x:` followed by lower-case letters, digits, `-`, `_` or `.`, or is
    /// already used; if the value contains `${` or a control character (browsers change line
    /// breaks).
    pub fn custom(mut self, name: &str, value: &str) -> Result<Self, CallbackFieldError> {
        let variable = CustomVariable::new(name, value)?;
        self.check_free(name, None)?;
        self.push(name, &placeholder(name));
        self.custom.push(variable);
        Ok(self)
    }

    /// Adds a field with a constant value: percent-encoded in a form, a string in JSON.
    ///
    /// The uploader can read the value, but cannot change it once a policy covers the callback.
    /// Unlike a custom variable, a constant needs no form field and accepts any text that does not
    /// contain `${`.
    ///
    /// # Errors
    ///
    /// Fails if the [name](Self#names) is not valid, is already used, or belongs to a variable of
    /// OSS; if the value contains `${`. Any other value is read back unchanged, including a single
    /// `$`.
    pub fn constant(mut self, name: &str, value: &str) -> Result<Self, CallbackFieldError> {
        self.check_free(name, None)?;
        check_text(name, value)?;
        let written = constant(self.body_type, value);
        self.push(name, &written);
        Ok(self)
    }

    /// Returns the encoding of the body.
    #[must_use]
    pub fn body_type(&self) -> CallbackBodyType {
        self.body_type
    }

    /// Returns the value of `callbackBody`, with the placeholders that OSS fills in.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Returns names and values of the custom variables; names include `x:`.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.custom.iter().map(CustomVariable::pair)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| **known == *name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the template with the custom variables and the ticket of one upload added.
    ///
    /// This runs for every token, so it copies nothing of this body but the template.
    pub(super) fn template_for(
        &self,
        variables: &[(Box<str>, Box<str>)],
        ticket: Option<&str>,
    ) -> Result<String, CallbackFieldError> {
        // A variable is written twice, with seven bytes around it; a ticket is not escaped.
        let names: usize = variables.iter().map(|(name, _)| 2 * name.len() + 10).sum();
        let ticket_len = ticket.map_or(0, |ticket| TICKET_FIELD.len() + ticket.len() + 10);
        let mut template = String::with_capacity(self.template.len() + names + ticket_len);
        template.push_str(&self.template);
        for (at, (name, value)) in variables.iter().enumerate() {
            check_custom(name, value)?;
            self.check_free(name, None)?;
            if variables.iter().take(at).any(|(other, _)| other == name) {
                return Err(CallbackFieldError::new(Kind::Duplicate, name));
            }
            write_field(&mut template, self.body_type, name, &placeholder(name));
        }
        if let Some(ticket) = ticket {
            self.check_free(TICKET_FIELD, None)?;
            check_text(TICKET_FIELD, ticket)?;
            let value = constant(self.body_type, ticket);
            write_field(&mut template, self.body_type, TICKET_FIELD, &value);
        }
        Ok(template)
    }

    /// Adds fields whose names are valid and unused.
    fn with_known(mut self, fields: &[(&str, SystemVariable)]) -> Self {
        for (name, variable) in fields {
            self.push(name, &placeholder(variable.name()));
        }
        self
    }

    /// Checks that a field can get this name.
    fn check_free(
        &self,
        name: &str,
        variable: Option<SystemVariable>,
    ) -> Result<(), CallbackFieldError> {
        check_name(name)?;
        // A reader trusts a name of OSS: a constant `object` would look like the uploaded object.
        let owner = SystemVariable::from_name(name);
        let taken = owner.is_some() && owner != variable;
        if taken || (variable.is_some() && name.starts_with(CUSTOM_PREFIX)) {
            return Err(CallbackFieldError::new(Kind::Reserved, name));
        }
        if self.has(name) {
            return Err(CallbackFieldError::new(Kind::Duplicate, name));
        }
        Ok(())
    }

    /// Appends a field with a checked name and an encoded value.
    fn push(&mut self, name: &str, value: &str) {
        write_field(&mut self.template, self.body_type, name, value);
        self.names.push(name.into());
    }
}

impl fmt::Debug for CallbackTemplate {
    /// Omits the values: they may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackTemplate")
            .field("body_type", &self.body_type)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A custom variable, and the value that every upload must send for it.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct CustomVariable {
    name: Box<str>,
    value: Box<str>,
}

impl CustomVariable {
    pub(super) fn new(name: &str, value: &str) -> Result<Self, CallbackFieldError> {
        check_custom(name, value)?;
        Ok(Self {
            name: name.into(),
            value: value.into(),
        })
    }

    pub(super) fn pair(&self) -> (&str, &str) {
        (&self.name, &self.value)
    }
}

fn write_field(template: &mut String, body_type: CallbackBodyType, name: &str, value: &str) {
    match body_type {
        CallbackBodyType::Form => {
            let separator = if template.is_empty() { "" } else { "&" };
            template.extend([separator, name, "=", value]);
        }
        CallbackBodyType::Json => {
            let separator = if template == "{}" { "\"" } else { ",\"" };
            // Reopens the object: its last character is the closing brace.
            template.pop();
            template.extend([separator, name, "\":", value, "}"]);
        }
    }
}

/// Returns a placeholder without quotes, in JSON too: OSS adds quotes if the value is a string.
fn placeholder(variable: &str) -> String {
    format!("${{{variable}}}")
}

fn constant(body_type: CallbackBodyType, value: &str) -> String {
    match body_type {
        CallbackBodyType::Form => utf8_percent_encode(value, UNRESERVED).to_string(),
        // OSS rejects a `$` that is not followed by a brace (EC 0007-00000105).
        CallbackBodyType::Json => Value::from(value).to_string().replace('$', "\\u0024"),
    }
}

/// Checks the name of a field.
///
/// OSS copies a name into the body unchanged, so it contains nothing that a form or JSON would
/// escape.
fn check_name(name: &str) -> Result<(), CallbackFieldError> {
    let common =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    // OSS documents lower-case letters only for custom variables, although it accepts more.
    let (kind, rest, valid) = match name.strip_prefix(CUSTOM_PREFIX) {
        Some(rest) => (Kind::CustomName, rest, rest.bytes().all(common)),
        None => (
            Kind::Name,
            name,
            name.bytes()
                .all(|b| common(b) || b.is_ascii_uppercase() || b == b':'),
        ),
    };
    if !valid || rest.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(CallbackFieldError::new(kind, name));
    }
    Ok(())
}

/// Rejects the start of a variable in a value.
///
/// Escaping it is not enough: a program that reads the value later may expand what OSS did not.
fn check_text(name: &str, value: &str) -> Result<(), CallbackFieldError> {
    if value.contains(PLACEHOLDER) {
        return Err(CallbackFieldError::new(Kind::Placeholder, name));
    }
    Ok(())
}

fn check_custom(name: &str, value: &str) -> Result<(), CallbackFieldError> {
    if !name.starts_with(CUSTOM_PREFIX) {
        return Err(CallbackFieldError::new(Kind::CustomName, name));
    }
    check_name(name)?;
    check_text(name, value)?;
    // Browsers send every line break of a form field as CR LF, which the policy would then reject.
    if value.contains(|c: char| c.is_control()) {
        return Err(CallbackFieldError::new(Kind::Control, name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(CallbackTemplate::form().template(), "");
        assert_eq!(
            CallbackTemplate::sample().template(),
            "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}"
        );
        let body = CallbackTemplate::form()
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
        assert_eq!(CallbackTemplate::json().template(), "{}");
        let body = CallbackTemplate::json()
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
        let form = CallbackTemplate::standard(CallbackBodyType::Form);
        assert!(
            form.template()
                .starts_with("bucket=${bucket}&object=${object}&etag=${etag}&")
        );
        let json = CallbackTemplate::standard(CallbackBodyType::Json);
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
            CallbackTemplate::standard(CallbackBodyType::Json)
                .custom("x:uid", "7")
                .unwrap()
        };
        let kind =
            |result: Result<CallbackTemplate, CallbackFieldError>| result.unwrap_err().kind();
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
        // A reader would take these for something else.
        assert_eq!(
            kind(CallbackTemplate::json().variable("size", SystemVariable::Object)),
            Kind::Reserved
        );
        assert_eq!(
            kind(CallbackTemplate::json().constant("object", "a.txt")),
            Kind::Reserved
        );
        assert_eq!(
            kind(CallbackTemplate::json().variable("x:size", SystemVariable::Size)),
            Kind::Reserved
        );
    }

    #[test]
    fn names_are_shown_and_values_are_not() {
        let body = CallbackTemplate::form()
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

    #[test]
    fn names() {
        let long = "a".repeat(65);
        let longer = format!("x:{}", "a".repeat(63));
        for (name, why) in [
            ("", Kind::Name),
            ("a b", Kind::Name),
            ("a=b", Kind::Name),
            ("a&b", Kind::Name),
            ("a\"b", Kind::Name),
            ("a+b", Kind::Name),
            ("a%20b", Kind::Name),
            ("$a", Kind::Name),
            ("{a}", Kind::Name),
            ("键", Kind::Name),
            (&long, Kind::Name),
            ("x:", Kind::CustomName),
            ("x:Uid", Kind::CustomName),
            ("x:a:b", Kind::CustomName),
            ("x:键", Kind::CustomName),
            ("x:a}", Kind::CustomName),
            (&longer, Kind::CustomName),
        ] {
            assert_eq!(check_name(name).unwrap_err().kind(), why, "{name}");
        }
        for name in [
            "a",
            "A:b",
            "imageInfo.height",
            "my-var_1",
            "X:uid",
            "x:my_var-1.a",
            &long[..64],
            &longer[..64],
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn custom_variables() {
        for (name, value, why) in [
            ("uid", "7", Kind::CustomName),
            ("X:uid", "7", Kind::CustomName),
            ("x:", "7", Kind::CustomName),
            ("x:uid", "${object}", Kind::Placeholder),
            ("x:uid", "a${", Kind::Placeholder),
            ("x:uid", "a\n", Kind::Control),
            ("x:uid", "a\r\nb", Kind::Control),
            ("x:uid", "\0", Kind::Control),
            ("x:uid", "\u{7f}", Kind::Control),
        ] {
            let error = CustomVariable::new(name, value).map(drop).unwrap_err();
            assert_eq!((error.kind(), error.field()), (why, name), "{value:?}");
        }
        for value in ["", "7", "a b", "$", "$ {", "值\"&=%+", "}"] {
            let variable = CustomVariable::new("x:uid", value).unwrap();
            assert_eq!(variable.pair(), ("x:uid", value));
        }
    }
}
