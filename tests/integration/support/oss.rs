//! A model of how OSS fills in callback bodies.

use std::collections::HashMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tower_aliyun_oss::protocol::{CallbackBodyType, SystemVariable};

/// Undocumented behavior of OSS, which must not matter to the crate.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// In a form, a space is `+` instead of `%20`.
    pub plus: bool,
    /// In JSON, `crc64` is a number instead of a string.
    pub bare_crc64: bool,
}

pub const HABITS: [Habits; 2] = [
    Habits {
        plus: false,
        bare_crc64: false,
    },
    Habits {
        plus: true,
        bare_crc64: true,
    },
];

/// OSS, reduced to filling in callback bodies.
pub struct Oss<'a> {
    pub body_type: CallbackBodyType,
    pub system: &'a HashMap<SystemVariable, String>,
    pub custom: HashMap<&'a str, &'a str>,
    pub habits: Habits,
}

impl Oss<'_> {
    pub fn fill(&self, template: &str) -> String {
        let mut body = String::new();
        let mut rest = template;
        while let Some((constant, variable)) = rest.split_once('$') {
            body += constant;
            let variable = variable
                .strip_prefix('{')
                .expect("OSS requires `{` after `$`");
            let (name, behind) = variable.split_once('}').expect("an unclosed placeholder");
            body += &self.value(name);
            rest = behind;
        }
        body + rest
    }

    fn value(&self, name: &str) -> String {
        let system = SystemVariable::from_name(name);
        let value = match system {
            Some(variable) => self.system.get(&variable).map(String::as_str),
            None => self.custom.get(name).copied(),
        };
        let value = value.unwrap_or_default();
        match self.body_type {
            CallbackBodyType::Form => {
                let value = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
                if self.habits.plus {
                    value.replace("%20", "+")
                } else {
                    value
                }
            }
            CallbackBodyType::Json => {
                let bare = system.is_some_and(|variable| {
                    variable.is_number()
                        || (variable == SystemVariable::Crc64 && self.habits.bare_crc64)
                });
                match value {
                    value if bare => value.to_owned(),
                    "" => "null".to_owned(),
                    value => json!(value).to_string(),
                }
            }
            _ => unreachable!("a body type without a model"),
        }
    }
}
