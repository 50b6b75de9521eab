//! The template of a callback body: fields that OSS fills in, custom variables, and constants.

use std::{borrow::Cow, fmt};

use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use crate::{
    policy::{
        error::{CallbackDirectiveError, FieldProblem},
        json::push_escaped,
    },
    protocol::{
        CUSTOM_PREFIX, CallbackBodyType, SystemVariable, TICKET_FIELD, percent::UNRESERVED,
    },
    ticket::{BodyField, FieldValue},
};

/// Maximum length of a field name in bytes, including the `x:` of a custom variable.
const MAX_NAME_LEN: usize = 64;

/// Start of a variable in a template.
const PLACEHOLDER: &str = "${";

/// A name under which a reader expects something else.
const FOR_ANOTHER: FieldProblem =
    FieldProblem::Reserved("it would be read as another variable; choose another name");

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
/// # Ok::<(), tower_aliyun_oss::policy::CallbackDirectiveError>(())
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
/// # What the callback proves
///
/// Anyone can have OSS sign a body with any values for the callback URL. With
/// [tickets](crate::policy::OssPolicyService::tickets), the layer accepts only this body: its
/// fields in their order, its constants, and the values of its custom variables. Without tickets,
/// nothing of it is proven.
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
    /// In the order of the template.
    fields: Vec<TemplateField>,
}

/// A field of a template.
#[derive(Clone, Eq, PartialEq)]
struct TemplateField {
    name: Box<str>,
    value: TemplateValue,
}

#[derive(Clone, Eq, PartialEq)]
enum TemplateValue {
    System(SystemVariable),
    /// With the value that every upload must send.
    Custom(Box<str>),
    /// As it is written in the template.
    Constant(Box<str>),
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
            fields: Vec::new(),
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
    ) -> Result<Self, CallbackDirectiveError> {
        self.check_free(name, Some(variable))?;
        self.push(name, TemplateValue::System(variable));
        Ok(self)
    }

    /// Adds a field for a custom variable, with the value that every upload must send for it.
    ///
    /// The uploader sends the value as a separate form field, and the policy requires exactly this
    /// value; a [ticket](#what-the-callback-proves) holds the callback to it. The field has the
    /// name of the variable, so [`UploadEvent::custom`](crate::callback::UploadEvent::custom)
    /// contains it. An empty value is read back as absent.
    ///
    /// # Errors
    ///
    /// Fails if the name is not `x:` followed by lower-case letters, digits, `-`, `_` or `.`, or is
    /// already used; if the value contains `${` or a control character (browsers change line
    /// breaks).
    pub fn custom(mut self, name: &str, value: &str) -> Result<Self, CallbackDirectiveError> {
        check_custom(name, value)?;
        self.check_free(name, None)?;
        self.push(name, TemplateValue::Custom(value.into()));
        Ok(self)
    }

    /// Adds a field with a constant value: percent-encoded in a form, a string in JSON.
    ///
    /// The uploader can read the value. A policy fixes it for uploads under the policy, and a
    /// [ticket](#what-the-callback-proves) for the callback handler. Unlike a custom variable, a
    /// constant needs no form field and accepts any text that does not contain `${`.
    ///
    /// # Errors
    ///
    /// Fails if the [name](Self#names) is not valid, is already used, or belongs to a variable of
    /// OSS; if the value contains `${`. Any other value is read back unchanged, including a single
    /// `$`.
    pub fn constant(mut self, name: &str, value: &str) -> Result<Self, CallbackDirectiveError> {
        self.check_free(name, None)?;
        check_text(name, value)?;
        let written = constant(self.body_type, value);
        self.push(name, TemplateValue::Constant(written.into()));
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
        self.fields.iter().filter_map(|field| match &field.value {
            TemplateValue::Custom(value) => Some((&*field.name, &**value)),
            TemplateValue::System(_) | TemplateValue::Constant(_) => None,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| *field.name == *name)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Splits the template where further fields belong.
    pub(super) fn split_end(&self) -> (&str, &'static str) {
        match self.body_type {
            CallbackBodyType::Form => (&self.template, ""),
            CallbackBodyType::Json => {
                let open = self.template.strip_suffix('}');
                (open.unwrap_or(&self.template), "}")
            }
        }
    }

    /// Appends what the template gets for the custom variables and the ticket of one upload, as a
    /// part of a JSON string. It belongs after the last field: in JSON, before the closing brace.
    ///
    /// This runs for every token, so it copies nothing of this body.
    pub(super) fn push_additions(
        &self,
        out: &mut String,
        variables: &[(Box<str>, Box<str>)],
        ticket: Option<&str>,
    ) -> Result<(), CallbackDirectiveError> {
        let mut is_first = self.is_empty();
        let mut start = |out: &mut String, name: &str| match self.body_type {
            CallbackBodyType::Form => {
                let separator = if is_first { "" } else { "&" };
                out.extend([separator, name, "="]);
                is_first = false;
            }
            CallbackBodyType::Json => {
                let separator = if is_first { "" } else { "," };
                // Of a name, nothing needs an escape.
                out.extend([separator, "\\\"", name, "\\\":"]);
                is_first = false;
            }
        };
        for (at, (name, value)) in variables.iter().enumerate() {
            check_custom(name, value)?;
            self.check_free(name, None)?;
            if variables.iter().take(at).any(|(other, _)| other == name) {
                return Err(CallbackDirectiveError::field(name, FieldProblem::Repeated));
            }
            start(out, name);
            out.extend(["${", name, "}"]);
        }
        if let Some(ticket) = ticket {
            self.check_free(TICKET_FIELD, None)?;
            start(out, TICKET_FIELD);
            // A ticket is URL-safe Base64, of which neither encoding escapes anything.
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            // Without an early return, so that the bytes are compared together.
            if ticket.bytes().fold(true, |all, b| all & plain(b)) {
                let quote = match self.body_type {
                    CallbackBodyType::Form => "",
                    CallbackBodyType::Json => "\\\"",
                };
                out.extend([quote, ticket, quote]);
            } else {
                check_text(TICKET_FIELD, ticket)?;
                push_escaped(out, &constant(self.body_type, ticket));
            }
        }
        Ok(())
    }

    /// Returns the template with what [`push_additions`](Self::push_additions) has checked and
    /// added, as OSS reads it.
    pub(super) fn with_additions(
        &self,
        variables: &[(Box<str>, Box<str>)],
        ticket: Option<&str>,
    ) -> String {
        let mut template = self.template.clone();
        for (name, _) in variables {
            write_field(&mut template, self.body_type, name, &placeholder(name));
        }
        if let Some(ticket) = ticket {
            let written = constant(self.body_type, ticket);
            write_field(&mut template, self.body_type, TICKET_FIELD, &written);
        }
        template
    }

    /// Adds fields whose names are valid and unused.
    fn with_known(mut self, fields: &[(&str, SystemVariable)]) -> Self {
        for (name, variable) in fields {
            self.push(name, TemplateValue::System(*variable));
        }
        self
    }

    /// Checks that a field can get this name.
    fn check_free(
        &self,
        name: &str,
        variable: Option<SystemVariable>,
    ) -> Result<(), CallbackDirectiveError> {
        check_name(name)?;
        // A reader trusts a name of OSS: a constant `object` would look like the uploaded object.
        let owner = SystemVariable::from_name(name);
        let taken = owner.is_some() && owner != variable;
        if taken || (variable.is_some() && name.starts_with(CUSTOM_PREFIX)) {
            return Err(CallbackDirectiveError::field(name, FOR_ANOTHER));
        }
        if self.has(name) {
            return Err(CallbackDirectiveError::field(name, FieldProblem::Repeated));
        }
        Ok(())
    }

    /// Returns the fields of the template with these variables and a ticket, in their order: what
    /// the ticket seals.
    pub(super) fn sealed_fields<'a>(
        &'a self,
        variables: &'a [(Box<str>, Box<str>)],
    ) -> impl Iterator<Item = BodyField<'a>> {
        let own = self.fields.iter().map(|field| {
            BodyField::new(
                &field.name,
                match &field.value {
                    TemplateValue::System(variable) => FieldValue::System(*variable),
                    TemplateValue::Custom(value) => FieldValue::Custom(value),
                    TemplateValue::Constant(written) => FieldValue::Constant(written.as_bytes()),
                },
            )
        });
        let added = variables
            .iter()
            .map(|(name, value)| BodyField::new(name, FieldValue::Custom(value)));
        let ticket = BodyField::new(TICKET_FIELD, FieldValue::Ticket);
        own.chain(added).chain([ticket])
    }

    /// Appends a field with a checked name and value.
    fn push(&mut self, name: &str, value: TemplateValue) {
        let written: Cow<'_, str> = match &value {
            TemplateValue::System(variable) => placeholder(variable.name()).into(),
            TemplateValue::Custom(_) => placeholder(name).into(),
            TemplateValue::Constant(written) => Cow::Borrowed(written),
        };
        write_field(&mut self.template, self.body_type, name, &written);
        let name = name.into();
        self.fields.push(TemplateField { name, value });
    }
}

impl fmt::Debug for CallbackTemplate {
    /// Omits the values: they may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackTemplate")
            .field("body_type", &self.body_type)
            .field(
                "names",
                &self
                    .fields
                    .iter()
                    .map(|field| &field.name)
                    .collect::<Vec<_>>(),
            )
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
    pub(super) fn new(name: &str, value: &str) -> Result<Self, CallbackDirectiveError> {
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
fn check_name(name: &str) -> Result<(), CallbackDirectiveError> {
    let common =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    // OSS documents lower-case letters only for custom variables, although it accepts more.
    let (problem, rest, valid) = match name.strip_prefix(CUSTOM_PREFIX) {
        Some(rest) => (FieldProblem::CustomName, rest, rest.bytes().all(common)),
        None => (
            FieldProblem::BodyName,
            name,
            name.bytes()
                .all(|b| common(b) || b.is_ascii_uppercase() || b == b':'),
        ),
    };
    if !valid || rest.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(CallbackDirectiveError::field(name, problem));
    }
    Ok(())
}

/// Rejects the start of a variable in a value.
///
/// Escaping it is not enough: a program that reads the value later may expand what OSS did not.
fn check_text(name: &str, value: &str) -> Result<(), CallbackDirectiveError> {
    if value.contains(PLACEHOLDER) {
        return Err(CallbackDirectiveError::field(
            name,
            FieldProblem::Placeholder,
        ));
    }
    Ok(())
}

fn check_custom(name: &str, value: &str) -> Result<(), CallbackDirectiveError> {
    if !name.starts_with(CUSTOM_PREFIX) {
        return Err(CallbackDirectiveError::field(
            name,
            FieldProblem::CustomName,
        ));
    }
    check_name(name)?;
    check_text(name, value)?;
    // Browsers send every line break of a form field as CR LF, which the policy would then reject.
    if value.contains(|c: char| c.is_control()) {
        return Err(CallbackDirectiveError::field(name, FieldProblem::Control));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the field and the problem of an error.
    fn parts(error: CallbackDirectiveError) -> (Box<str>, FieldProblem) {
        match error {
            CallbackDirectiveError::Field { field, problem } => (field, problem),
            other => panic!("{other}"),
        }
    }

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
            assert_eq!(body.fields.len(), SystemVariable::ALL.len());
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
            |result: Result<CallbackTemplate, CallbackDirectiveError>| parts(result.unwrap_err()).1;
        assert_eq!(
            kind(body().variable("", SystemVariable::Size)),
            FieldProblem::BodyName
        );
        assert_eq!(kind(body().constant("a\"b", "")), FieldProblem::BodyName);
        assert_eq!(kind(body().constant("x:UID", "")), FieldProblem::CustomName);
        assert_eq!(kind(body().custom("uid", "")), FieldProblem::CustomName);
        assert_eq!(
            kind(body().variable("size", SystemVariable::Size)),
            FieldProblem::Repeated
        );
        assert_eq!(kind(body().constant("x:uid", "8")), FieldProblem::Repeated);
        assert_eq!(kind(body().custom("x:uid", "7")), FieldProblem::Repeated);
        assert_eq!(
            kind(body().constant("a", "${object}")),
            FieldProblem::Placeholder
        );
        assert_eq!(
            kind(body().custom("x:a", "${object}")),
            FieldProblem::Placeholder
        );
        // A reader would take these for something else.
        assert_eq!(
            kind(CallbackTemplate::json().variable("size", SystemVariable::Object)),
            FOR_ANOTHER
        );
        assert_eq!(
            kind(CallbackTemplate::json().constant("object", "a.txt")),
            FOR_ANOTHER
        );
        assert_eq!(
            kind(CallbackTemplate::json().variable("x:size", SystemVariable::Size)),
            FOR_ANOTHER
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
            ("", FieldProblem::BodyName),
            ("a b", FieldProblem::BodyName),
            ("a=b", FieldProblem::BodyName),
            ("a&b", FieldProblem::BodyName),
            ("a\"b", FieldProblem::BodyName),
            ("a+b", FieldProblem::BodyName),
            ("a%20b", FieldProblem::BodyName),
            ("$a", FieldProblem::BodyName),
            ("{a}", FieldProblem::BodyName),
            ("键", FieldProblem::BodyName),
            (&long, FieldProblem::BodyName),
            ("x:", FieldProblem::CustomName),
            ("x:Uid", FieldProblem::CustomName),
            ("x:a:b", FieldProblem::CustomName),
            ("x:键", FieldProblem::CustomName),
            ("x:a}", FieldProblem::CustomName),
            (&longer, FieldProblem::CustomName),
        ] {
            assert_eq!(parts(check_name(name).unwrap_err()).1, why, "{name}");
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
            ("uid", "7", FieldProblem::CustomName),
            ("X:uid", "7", FieldProblem::CustomName),
            ("x:", "7", FieldProblem::CustomName),
            ("x:uid", "${object}", FieldProblem::Placeholder),
            ("x:uid", "a${", FieldProblem::Placeholder),
            ("x:uid", "a\n", FieldProblem::Control),
            ("x:uid", "a\r\nb", FieldProblem::Control),
            ("x:uid", "\0", FieldProblem::Control),
            ("x:uid", "\u{7f}", FieldProblem::Control),
        ] {
            let error = CustomVariable::new(name, value).map(drop).unwrap_err();
            assert_eq!(parts(error), (name.into(), why), "{value:?}");
        }
        for value in ["", "7", "a b", "$", "$ {", "值\"&=%+", "}"] {
            let variable = CustomVariable::new("x:uid", value).unwrap();
            assert_eq!(variable.pair(), ("x:uid", value));
        }
    }
}
