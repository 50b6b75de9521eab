//! Conditions on fields that the client fills in.

use std::fmt;

use super::{
    document::Clause,
    error::{FieldProblem, PolicyError},
    field::{check_name, check_value},
};

/// A rule for a field that the client adds to the form itself, such as `x-oss-meta-album`.
///
/// A condition on a field that the form does not carry fails, so the client must send every field that is named in
/// one. For a field whose value you know, use [`PostPolicyBuilder::field`](super::PostPolicyBuilder::field) instead:
/// it puts the value into the form as well.
///
/// Nothing is checked here, but when the policy is built.
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

impl fmt::Debug for Condition {
    /// Leaves the values out: they can hold what does not belong into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition")
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}

impl Condition {
    /// `eq`: the field must have exactly this value.
    #[must_use]
    pub fn equals(field: &str, value: &str) -> Self {
        Self::new(field, Rule::Equals(value.into()))
    }

    /// `starts-with`: the value of the field must start with this; the empty text allows any value.
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

    /// `not-in`: the value of the field must be none of these.
    #[must_use]
    pub fn none_of<'a>(field: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let values = values.into_iter().map(Into::into).collect();
        Self::new(field, Rule::NotIn(values))
    }

    /// The name of the field.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    fn new(field: &str, rule: Rule) -> Self {
        let field = field.into();
        Self { field, rule }
    }

    pub(super) fn check(&self) -> Result<(), PolicyError> {
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
