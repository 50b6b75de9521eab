//! The form and the conditions on it, made together.

use super::document::Clause;

/// What a client sends and what the policy says about it.
///
/// OSS does not check a field that the policy leaves out, so a field is added here along with its condition.
#[derive(Default)]
pub(super) struct Form<'a> {
    fields: Vec<(&'a str, &'a str)>,
    clauses: Vec<Clause<'a>>,
}

impl<'a> Form<'a> {
    /// A field that must be sent as it is, spelled `{"field":"value"}`.
    pub(super) fn pin(&mut self, name: &'a str, value: &'a str) {
        self.fields.push((name, value));
        self.clauses.push(Clause::Is(name, value));
    }

    /// A field that must be sent as it is, spelled `["eq","$field","value"]`.
    pub(super) fn pin_eq(&mut self, name: &'a str, value: &'a str) {
        self.fields.push((name, value));
        self.clauses.push(Clause::Equals(name, value));
    }

    /// A field with a condition other than its value.
    pub(super) fn conditioned(&mut self, name: &'a str, value: &'a str, clause: Clause<'a>) {
        self.fields.push((name, value));
        self.clauses.push(clause);
    }

    /// A condition on something that the client sends by itself, or on the request.
    pub(super) fn condition(&mut self, clause: Clause<'a>) {
        self.clauses.push(clause);
    }

    pub(super) fn clauses(&self) -> &[Clause<'a>] {
        &self.clauses
    }

    /// The fields, those of the signature added. They need no condition: another value does not verify.
    pub(super) fn signed(self, signature: &[(&str, &str)]) -> Vec<(Box<str>, Box<str>)> {
        let all = self.fields.iter().chain(signature);
        all.map(|&(name, value)| (name.into(), value.into()))
            .collect()
    }
}
