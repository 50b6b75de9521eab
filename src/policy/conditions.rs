//! Conditions that an upload must satisfy: size, lifetime, content type, ACL, and form fields.

use std::{borrow::Cow, fmt, time::Duration};

use super::{
    document::Clause,
    error::{FieldProblem, PolicyError},
};
use crate::protocol::{ContentType, ObjectAcl, SizeRange};

const DEFAULT_LIFETIME: Duration = Duration::from_secs(15 * 60);
const MIN_LIFETIME: Duration = Duration::from_secs(1);

/// OSS rejects the date of a version 4 signature after seven days.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

const MAX_NAME_LEN: usize = 128;

/// Maximum length of a value that OSS accepts, in bytes ([PostObject]).
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
const MAX_VALUE_LEN: usize = 2 * 1024 * 1024;

/// The field that overrides the content type of the file part and of the field `Content-Type`.
pub(super) const CONTENT_TYPE_FIELD: &str = "x-oss-content-type";

/// Fields that have their own setter, in lower case, and what to use instead.
const RESERVED: [(&str, &str); 20] = [
    ("key", "pass the key to the builder"),
    ("bucket", "pass the bucket to the builder"),
    ("file", "the client adds the file"),
    ("callback", "pass the callback to the builder"),
    (
        "callback-var",
        "a form carries each x: variable as a separate field; use CallbackDirective::variable",
    ),
    ("content-length-range", "pass the size to the builder"),
    (
        "content-type",
        "x-oss-content-type and the file part override it, so it binds nothing; use content_type",
    ),
    (CONTENT_TYPE_FIELD, "use content_type or content_types"),
    ("x-oss-object-acl", "use object_acl"),
    ("x-oss-forbid-overwrite", "use allow_overwrite"),
    ("success_action_status", "use success_action_status"),
    (
        "success_action_redirect",
        "OSS forwards the response to the callback to the uploader; redirect there",
    ),
    ("policy", "signing adds it"),
    ("signature", "signing adds it"),
    ("ossaccesskeyid", "signing adds it"),
    ("x-oss-signature-version", "signing adds it"),
    ("x-oss-credential", "signing adds it"),
    ("x-oss-date", "signing adds it"),
    ("x-oss-signature", "signing adds it"),
    ("x-oss-security-token", "signing adds it"),
];

/// A condition on a form field that the client adds itself, such as `x-oss-meta-album`.
///
/// OSS rejects a form that lacks a field with a condition, so the client must send every field
/// named in one. If you know the value of a field, use
/// [`PostPolicyBuilder::field`](super::PostPolicyBuilder::field) instead: it also adds the field to
/// the form.
///
/// The constructors validate nothing; building the policy does.
///
/// ```
/// use tower_aliyun_oss::policy::Condition;
///
/// let album = Condition::starts_with("x-oss-meta-album", "holiday-");
/// assert_eq!(album.field(), "x-oss-meta-album");
/// ```
///
/// Source: the policy section of the [PostObject] page.
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
#[derive(Clone, Eq, PartialEq)]
pub struct Condition {
    field: Box<str>,
    rule: Rule,
}

#[derive(Clone, Eq, PartialEq)]
enum Rule {
    Equals(Box<str>),
    StartsWith(Box<str>),
    In(Vec<Box<str>>),
    NotIn(Vec<Box<str>>),
}

impl Condition {
    /// `eq`: the field must have exactly this value.
    #[must_use]
    pub fn equals(field: &str, value: &str) -> Self {
        Self::new(field, Rule::Equals(value.into()))
    }

    /// `starts-with`: the value of the field must start with this text; an empty text allows any
    /// value.
    #[must_use]
    pub fn starts_with(field: &str, value: &str) -> Self {
        Self::new(field, Rule::StartsWith(value.into()))
    }

    /// `in`: the value of the field must be one of these.
    #[must_use]
    pub fn one_of<'a>(field: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self::new(field, Rule::In(values))
    }

    /// `not-in`: the value of the field must not be one of these.
    #[must_use]
    pub fn none_of<'a>(field: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self::new(field, Rule::NotIn(values))
    }

    /// Returns the name of the field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    fn new(field: &str, rule: Rule) -> Self {
        let field = field.into();
        Self { field, rule }
    }

    fn check(&self) -> Result<(), PolicyError> {
        check_name(&self.field)?;
        match &self.rule {
            Rule::Equals(value) | Rule::StartsWith(value) => check_value(&self.field, value),
            Rule::In(values) | Rule::NotIn(values) if values.is_empty() => {
                Err(PolicyError::field(&self.field, FieldProblem::EmptyList))
            }
            Rule::In(values) | Rule::NotIn(values) => values
                .iter()
                .try_for_each(|value| check_value(&self.field, value)),
        }
    }

    pub(super) fn clause(&self) -> Clause<'_> {
        match &self.rule {
            Rule::Equals(value) => Clause::Equals(&self.field, value),
            Rule::StartsWith(value) => Clause::StartsWith(&self.field, value),
            Rule::In(values) => Clause::In(&self.field, values),
            Rule::NotIn(values) => Clause::NotIn(&self.field, values),
        }
    }
}

impl fmt::Debug for Condition {
    /// Omits the values: they may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}

/// Which form fields the clients of a token format send, and thus which conditions a policy can
/// have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FieldSet {
    /// Every field of the token.
    Full,
    /// Key, status, callback and the fields of the signature.
    Reduced,
}

/// Everything that a policy and a grant require of an upload, except its name.
#[derive(Clone, PartialEq)]
pub(super) struct UploadConditions {
    pub(super) size: SizeRange,
    pub(super) lifetime: Duration,
    pub(super) content_types: ContentTypes,
    pub(super) allow_active: bool,
    pub(super) acl: Option<ObjectAcl>,
    pub(super) overwrite: bool,
    pub(super) status: u16,
    pub(super) fields: Vec<(Box<str>, Box<str>)>,
    pub(super) conditions: Vec<Condition>,
}

impl UploadConditions {
    pub(super) fn new(size: SizeRange) -> Self {
        Self {
            size,
            lifetime: DEFAULT_LIFETIME,
            content_types: ContentTypes::Binary,
            allow_active: false,
            acl: None,
            overwrite: false,
            status: 200,
            fields: Vec::new(),
            conditions: Vec::new(),
        }
    }

    /// Checks that OSS would accept the conditions, and that the clients of `fields` can satisfy
    /// them.
    pub(super) fn check(&self, fields: FieldSet) -> Result<(), PolicyError> {
        check_lifetime(self.lifetime)?;
        if !matches!(self.status, 200 | 201 | 204) {
            let field = "success_action_status";
            return Err(PolicyError::field(field, FieldProblem::Status));
        }
        self.content_types.check(self.allow_active)?;
        // Names first: the message for a reserved name tells which setter to use.
        for (name, value) in &self.fields {
            check_name(name)?;
            check_value(name, value)?;
        }
        for condition in &self.conditions {
            condition.check()?;
        }
        self.check_distinct()?;
        match self.first_optional_field() {
            Some(field) if fields == FieldSet::Reduced => {
                Err(PolicyError::field(field, FieldProblem::NotInFormat))
            }
            _ => Ok(()),
        }
    }

    /// Checks that no field is named twice. OSS compares names case-insensitively.
    fn check_distinct(&self) -> Result<(), PolicyError> {
        for (at, name) in self.names().enumerate() {
            let mut before = self.names().take(at);
            if before.any(|known| known.eq_ignore_ascii_case(name)) {
                return Err(PolicyError::field(name, FieldProblem::Repeated));
            }
        }
        Ok(())
    }

    /// Returns the first setting that needs a field which [`FieldSet::Reduced`] lacks.
    fn first_optional_field(&self) -> Option<&str> {
        if !matches!(self.content_types, ContentTypes::Binary | ContentTypes::Any) {
            return Some(CONTENT_TYPE_FIELD);
        }
        if self.acl.is_some() {
            return Some("x-oss-object-acl");
        }
        if self.overwrite {
            return Some("x-oss-forbid-overwrite");
        }
        if self.status != 200 {
            return Some("success_action_status");
        }
        self.names().next()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().map(|(name, _)| &**name);
        fields.chain(self.conditions.iter().map(Condition::field))
    }

    pub(super) fn status_text(&self) -> &'static str {
        match self.status {
            201 => "201",
            204 => "204",
            _ => "200",
        }
    }
}

impl fmt::Debug for UploadConditions {
    /// Omits the values of fields: they may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("UploadConditions")
            .field("size", &self.size)
            .field("lifetime", &self.lifetime)
            .field("content_types", &self.content_types)
            .field("acl", &self.acl)
            .field("overwrite", &self.overwrite)
            .field("fields", &fields)
            .field("conditions", &self.conditions)
            .finish_non_exhaustive()
    }
}

/// The content types that an object may have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ContentTypes {
    /// The default: `application/octet-stream`, which no browser executes.
    Binary,
    /// This type; the token contains the field.
    One(ContentType),
    /// One of these types; the client adds `x-oss-content-type` with its choice.
    Several(Vec<Box<str>>),
    /// Any type; the policy has no condition on it.
    Any,
}

impl ContentTypes {
    pub(super) const BINARY: &'static str = "application/octet-stream";

    pub(super) fn from_list(types: impl IntoIterator<Item = ContentType>) -> Self {
        let mut types: Vec<_> = types.into_iter().collect();
        match types.pop() {
            Some(one) if types.is_empty() => Self::One(one),
            last => {
                let all = types.iter().chain(&last);
                Self::Several(all.map(|one| one.as_str().into()).collect())
            }
        }
    }

    /// Returns the allowed types; none if any type is allowed.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, several): (_, &[Box<str>]) = match self {
            Self::Binary => (Some(Self::BINARY), &[]),
            Self::One(one) => (Some(one.as_str()), &[]),
            Self::Several(several) => (None, several),
            Self::Any => (None, &[]),
        };
        one.into_iter().chain(several.iter().map(|one| &**one))
    }

    /// Returns the allowed types as a ticket lists them; none if any type is allowed.
    pub(super) fn list(&self) -> impl Iterator<Item = ContentType> {
        let one = match self {
            Self::One(one) => Some(one.clone()),
            _ => None,
        };
        let others = if one.is_some() {
            None
        } else {
            Some(self.texts())
        };
        let others = others.into_iter().flatten();
        one.into_iter()
            .chain(others.filter_map(|one| one.parse().ok()))
    }

    /// Returns whether the client must choose a type.
    pub(super) fn is_choice(&self) -> bool {
        matches!(self, Self::Several(several) if !several.is_empty())
    }

    /// Returns the requested type as the only one, if it is allowed. `image/jpg` and `image/jpeg`
    /// are the same type; the result has the spelling of the list, or else the registered one.
    pub(super) fn narrow_to(
        &self,
        requested: &ContentType,
        allow_active: bool,
    ) -> Option<Cow<'_, Self>> {
        match self {
            Self::Any => {
                let text = registered(requested.as_str());
                // The policy compares the type, so it must not contain a variable.
                let allowed = (allow_active || !is_active(text)) && !text.contains('$');
                let one = allowed.then(|| text.parse().ok()).flatten();
                one.map(|one| Cow::Owned(Self::One(one)))
            }
            // The result needs no further check: the list was checked.
            _ => self.only(requested.as_str()),
        }
    }

    /// Returns the first allowed type that a file with this name usually has.
    pub(super) fn narrow_by_name(&self, filename: &str) -> Option<Cow<'_, Self>> {
        let (_, extension) = filename.rsplit_once('.')?;
        // Some extensions have several types; `md` has `text/markdown` and `text/x-markdown`.
        let mut usual = mime_guess::from_ext(extension).iter_raw();
        usual.find_map(|text| self.only(text))
    }

    /// Returns this type as the only one, if the list contains it.
    fn only(&self, text: &str) -> Option<Cow<'_, Self>> {
        let exact = self.texts().find(|&one| one == text);
        let same = || self.texts().find(|one| registered(one) == registered(text));
        let found = exact.or_else(same)?;
        match self {
            Self::One(_) => Some(Cow::Borrowed(self)),
            _ => Some(Cow::Owned(Self::One(found.parse().ok()?))),
        }
    }

    /// Returns the allowed types for a message to the client; `None` if any type is allowed.
    pub(super) fn listed(&self) -> Option<String> {
        let texts: Vec<_> = self.texts().collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    fn check(&self, allow_active: bool) -> Result<(), PolicyError> {
        let problem = match self {
            Self::Several(several) if several.is_empty() => FieldProblem::EmptyList,
            _ if !allow_active && self.texts().any(is_active) => FieldProblem::ActiveContent,
            _ if self.texts().any(|one| one.contains('$')) => FieldProblem::Dollar,
            Self::Several(several) if has_repetition(several) => FieldProblem::Repeated,
            _ => return Ok(()),
        };
        Err(PolicyError::field(CONTENT_TYPE_FIELD, problem))
    }
}

/// Returns the registered name of a type. Many programs write `image/jpg` for `image/jpeg`.
fn registered(content_type: &str) -> &str {
    match content_type {
        "image/jpg" => "image/jpeg",
        other => other,
    }
}

fn has_repetition(types: &[Box<str>]) -> bool {
    let before = |at: usize| types.get(..at).unwrap_or_default();
    types
        .iter()
        .enumerate()
        .any(|(at, one)| before(at).contains(one))
}

/// Returns whether browsers execute scripts in an object of this type: HTML, every XML type (an XML
/// document can contain XHTML), and scripts, which a page or a service worker of the same domain
/// could load.
fn is_active(content_type: &str) -> bool {
    let subtype = content_type
        .split_once('/')
        .map_or(content_type, |(_, subtype)| subtype);
    // Browsers detect an unknown type from the bytes.
    let document = matches!(
        subtype,
        "html" | "xml" | "xsl" | "x-mixed-replace" | "unknown"
    );
    let script = matches!(
        subtype,
        "x-javascript" | "javascript" | "x-ecmascript" | "ecmascript" | "jscript" | "livescript"
    ) || subtype.starts_with("javascript1.");
    document || script || subtype.ends_with("+xml")
}

pub(super) fn check_lifetime(lifetime: Duration) -> Result<(), PolicyError> {
    if (MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) {
        Ok(())
    } else {
        Err(PolicyError::Lifetime)
    }
}

/// Checks the name of a field that the caller adds.
fn check_name(name: &str) -> Result<(), PolicyError> {
    let wrong = |problem| Err(PolicyError::field(name, problem));
    // The policy already has a condition on every `x:` variable of its callback.
    if name
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("x:"))
    {
        return wrong(FieldProblem::Reserved("use CallbackDirective::variable"));
    }
    let known = |(reserved, _): &&(&str, &str)| name.eq_ignore_ascii_case(reserved);
    if let Some((_, instead)) = RESERVED.iter().find(known) {
        return wrong(FieldProblem::Reserved(instead));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > MAX_NAME_LEN || !name.bytes().all(allowed) {
        return wrong(FieldProblem::Name);
    }
    Ok(())
}

/// Checks a value that a form carries and a condition compares.
pub(super) fn check_value(name: &str, value: &str) -> Result<(), PolicyError> {
    let problem = if value.len() > MAX_VALUE_LEN {
        FieldProblem::TooLong
    } else if value.contains('$') {
        FieldProblem::Dollar
    } else if value.contains(|c: char| c.is_control()) {
        FieldProblem::Control
    } else {
        return Ok(());
    };
    Err(PolicyError::field(name, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_any_case() {
        for name in [
            "Cache-Control",
            "x-oss-meta-uuid",
            "Expires",
            "fileName",
            "x",
        ] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in [
            "KEY",
            "X-OSS-Object-ACL",
            "x:ticket",
            "X:ticket",
            "OSSAccessKeyId",
        ] {
            assert!(matches!(
                check_name(name),
                Err(PolicyError::Field {
                    problem: FieldProblem::Reserved(_),
                    ..
                })
            ));
        }
        let long = "x".repeat(129);
        for name in ["", "a b", "$a", "a\"", "é", "a\n", "é:", &long] {
            let wrong = PolicyError::field(name, FieldProblem::Name);
            assert_eq!(check_name(name), Err(wrong));
        }
    }

    #[test]
    fn values() {
        assert_eq!(check_value("a", "é \"x\"], \\ 中"), Ok(()));
        let long = "x".repeat(MAX_VALUE_LEN + 1);
        for (value, problem) in [
            ("${filename}", FieldProblem::Dollar),
            ("a\r\nb", FieldProblem::Control),
            ("a\u{85}", FieldProblem::Control),
            (&long, FieldProblem::TooLong),
        ] {
            assert_eq!(
                check_value("a", value),
                Err(PolicyError::field("a", problem))
            );
        }
    }
}
