//! A model of how OSS fills in callback bodies.

use std::{collections::HashMap, fmt::Write as _};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use tower_aliyun_oss::protocol::{CallbackBodyType, SystemVariable};

/// Undocumented behavior of OSS, which must not matter to the crate.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// In a form, how a space and a plus sign are written.
    pub space: Space,
    /// In a form, which of `*'()` are not escaped.
    pub raw: &'static str,
    /// In JSON, `crc64` is a number instead of a string.
    pub bare_crc64: bool,
    /// In JSON, `/` is escaped.
    pub escaped_slash: bool,
    /// In JSON, everything but ASCII is escaped.
    pub escaped_unicode: bool,
    /// In JSON, an empty text. An empty number is nothing at all, or `null` if this is.
    pub empty: &'static str,
}

/// How a form has a space and a plus sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Space {
    /// `%20` and `%2B`.
    Escaped,
    /// `+` and `%2B`.
    Plus,
    /// `%20` and `+`. A reader takes this `+` for a space, unless a ticket tells what it is.
    LiteralPlus,
}

pub const HABITS: [Habits; 2] = [
    Habits {
        space: Space::Escaped,
        raw: "",
        bare_crc64: false,
        escaped_slash: false,
        escaped_unicode: false,
        empty: "null",
    },
    Habits {
        space: Space::Plus,
        raw: "*'()",
        bare_crc64: true,
        escaped_slash: true,
        escaped_unicode: true,
        empty: "",
    },
];

impl Habits {
    pub fn form(self, value: &str) -> String {
        let mut written = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        for raw in self.raw.chars() {
            written = written.replace(&format!("%{:02X}", u32::from(raw)), &raw.to_string());
        }
        match self.space {
            Space::Escaped => written,
            Space::Plus => written.replace("%20", "+"),
            Space::LiteralPlus => written.replace("%2B", "+"),
        }
    }

    pub fn json(self, value: &str) -> String {
        let mut written = json!(value).to_string();
        if self.escaped_slash {
            written = written.replace('/', "\\/");
        }
        if self.escaped_unicode {
            written = written.chars().fold(String::new(), |mut text, c| {
                if c.is_ascii() {
                    text.push(c);
                } else {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(text, "\\u{unit:04x}");
                    }
                }
                text
            });
        }
        written
    }
}

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
            CallbackBodyType::Form => self.habits.form(value),
            CallbackBodyType::Json => {
                let bare = system.is_some_and(|variable| {
                    variable.is_number()
                        || (variable == SystemVariable::Crc64 && self.habits.bare_crc64)
                });
                match value {
                    "" if bare && self.habits.empty != "null" => String::new(),
                    "" => self.habits.empty.to_owned(),
                    value if bare => value.to_owned(),
                    value => self.habits.json(value),
                }
            }
            _ => unreachable!("a body type without a model"),
        }
    }
}
