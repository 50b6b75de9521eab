//! Which fields a form may carry besides those that the policy itself decides.

use super::error::{FieldProblem, PolicyError};

const MAX_NAME_LEN: usize = 128;
/// The longest value OSS takes, in bytes ([PostObject]).
///
/// [PostObject]: https://www.alibabacloud.com/help/en/oss/developer-reference/postobject
const MAX_VALUE_LEN: usize = 2 * 1024 * 1024;

/// Fields that are set by a setting of their own, in lower case, and that setting.
const RESERVED: [(&str, &str); 20] = [
    ("key", "the builder is given the key"),
    ("bucket", "the builder is given the bucket"),
    ("file", "the client adds the file"),
    ("callback", "the builder is given the callback"),
    (
        "callback-var",
        "a form carries each x: variable by itself; use CallbackDirective::variable",
    ),
    ("content-length-range", "the builder is given the size"),
    (
        "content-type",
        "x-oss-content-type and the part of the file outrank it, so it binds nothing; use content_type",
    ),
    ("x-oss-content-type", "use content_type or content_types"),
    ("x-oss-object-acl", "use object_acl"),
    ("x-oss-forbid-overwrite", "use allow_overwrite"),
    ("success_action_status", "use success_action_status"),
    (
        "success_action_redirect",
        "oss answers the uploader with the answer to the callback; redirect there",
    ),
    ("policy", "signing makes it"),
    ("signature", "signing makes it"),
    ("ossaccesskeyid", "signing makes it"),
    ("x-oss-signature-version", "signing makes it"),
    ("x-oss-credential", "signing makes it"),
    ("x-oss-date", "signing makes it"),
    ("x-oss-signature", "signing makes it"),
    ("x-oss-security-token", "signing makes it"),
];

/// Checks the name of a field that the caller chose.
pub(super) fn check_name(name: &str) -> Result<(), PolicyError> {
    let wrong = |problem| Err(PolicyError::field(name, problem));
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

/// Checks a value that a form carries and a condition compares, whoever chose it.
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

/// Checks that no name stands twice.
pub(super) fn check_distinct<'a>(
    names: impl IntoIterator<Item = &'a str>,
) -> Result<(), PolicyError> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if seen.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(PolicyError::field(name, FieldProblem::Repeated));
        }
        seen.push(name);
    }
    Ok(())
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
