//! The names of fields, and the custom variables that an uploader sends along.

use super::error::{CallbackFieldError, CallbackFieldErrorKind as Kind};
use crate::protocol::CUSTOM_PREFIX;

/// The longest name of a field, of a custom variable its `x:` included.
const MAX_NAME_LEN: usize = 64;

/// With which OSS begins a variable.
const PLACEHOLDER: &str = "${";

/// A custom variable, and the value that every upload must send for it.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct CustomVariable {
    name: Box<str>,
    value: Box<str>,
}

impl CustomVariable {
    pub(super) fn new(name: &str, value: &str) -> Result<Self, CallbackFieldError> {
        if !name.starts_with(CUSTOM_PREFIX) {
            return Err(CallbackFieldError::new(Kind::CustomName, name));
        }
        check_name(name)?;
        check_text(name, value)?;
        // Browsers make of every line break in a form CR LF, and then it is another value than the policy pins.
        if value.contains(|c: char| c.is_control()) {
            return Err(CallbackFieldError::new(Kind::Control, name));
        }
        Ok(Self {
            name: name.into(),
            value: value.into(),
        })
    }

    pub(super) fn pair(&self) -> (&str, &str) {
        (&self.name, &self.value)
    }
}

/// A name stands in a body as it is, so it holds nothing that a form or JSON would write in another way.
pub(super) fn check_name(name: &str) -> Result<(), CallbackFieldError> {
    let common =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let (kind, rest, good) = match name.strip_prefix(CUSTOM_PREFIX) {
        Some(rest) => (Kind::CustomName, rest, rest.bytes().all(common)),
        None => (
            Kind::Name,
            name,
            name.bytes()
                .all(|b| common(b) || b.is_ascii_uppercase() || b == b':'),
        ),
    };
    if !good || rest.is_empty() || name.len() > MAX_NAME_LEN {
        return Err(CallbackFieldError::new(kind, name));
    }
    Ok(())
}

/// The beginning of a variable is refused rather than escaped: whoever reads the value later may fill in what OSS
/// has left alone.
pub(super) fn check_text(name: &str, value: &str) -> Result<(), CallbackFieldError> {
    if value.contains(PLACEHOLDER) {
        return Err(CallbackFieldError::new(Kind::Placeholder, name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
