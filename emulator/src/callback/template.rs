//! The template of a callback body.

use percent_encoding::utf8_percent_encode;
use serde_json::Value as Json;

use crate::{encoding::COMPONENT, object::Image};
use tower_aliyun_oss::protocol::CallbackBodyType;

/// A text with variables of the form `${name}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Template(Vec<Segment>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Segment {
    Literal(String),
    Variable(String),
}

/// The value of a variable.
pub(super) enum Value<'a> {
    Text(&'a str),
    Number(Option<u64>),
    Image(Option<&'a Image>),
}

impl Template {
    /// Parses a template. Returns `None` if a dollar is not followed by a name in braces.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('$') {
            let (name, after) = after.strip_prefix('{')?.split_once('}')?;
            segments.push(Segment::Literal(literal.to_owned()));
            segments.push(Segment::Variable(name.to_owned()));
            rest = after;
        }
        segments.push(Segment::Literal(rest.to_owned()));
        Some(Self(segments))
    }

    /// Replaces every variable with the result of `value`.
    ///
    /// Literals are copied unchanged. The result is not checked to be JSON; OSS does not check it
    /// either.
    pub(super) fn render<'a>(
        &'a self,
        body_type: CallbackBodyType,
        value: impl Fn(&'a str) -> Value<'a>,
    ) -> String {
        let mut body = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => body.push_str(text),
                Segment::Variable(name) => match body_type {
                    CallbackBodyType::Json => json(&mut body, &value(name)),
                    // The default of OSS is a form.
                    _ => form(&mut body, &value(name)),
                },
            }
        }
        body
    }
}

fn form(body: &mut String, value: &Value<'_>) {
    match value {
        Value::Text(text) => body.extend(utf8_percent_encode(text, COMPONENT)),
        Value::Number(Some(number)) => body.push_str(&number.to_string()),
        Value::Image(Some(image)) => {
            body.extend(utf8_percent_encode(&image_object(image), COMPONENT));
        }
        Value::Number(None) | Value::Image(None) => {}
    }
}

/// Appends a value to a JSON body.
///
/// An empty text becomes `null`, and a missing number becomes nothing, which makes the JSON
/// invalid. OSS does the same.
fn json(body: &mut String, value: &Value<'_>) {
    match value {
        Value::Text("") | Value::Image(None) => body.push_str("null"),
        Value::Text(text) => body.push_str(&Json::from(*text).to_string()),
        Value::Number(Some(number)) => body.push_str(&number.to_string()),
        Value::Number(None) => {}
        Value::Image(Some(image)) => body.push_str(&image_object(image)),
    }
}

fn image_object(image: &Image) -> String {
    let (width, height) = (image.width, image.height);
    let format = Json::from(&*image.format);
    format!("{{\"height\":{height},\"width\":{width},\"format\":{format}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, body_type: CallbackBodyType, image: Option<&Image>) -> String {
        Template::parse(template)
            .unwrap()
            .render(body_type, |name| match name {
                "object" => Value::Text("a/b c+\"\\\u{4e2d}\n.jpg"),
                "size" => Value::Number(Some(5)),
                "imageInfo.height" => Value::Number(image.map(|image| image.height)),
                "imageInfo" => Value::Image(image),
                _ => Value::Text(""),
            })
    }

    #[test]
    fn forms_are_percent_encoded_and_their_literals_are_not() {
        let template = "o=${object}&s=${size}&h=${imageInfo.height}&u=${x:undefined}&lit=/\u{4e2d} %24%7Bobject%7D";
        assert_eq!(
            fill(template, CallbackBodyType::Form, None),
            "o=a%2Fb%20c%2B%22%5C%E4%B8%AD%0A.jpg&s=5&h=&u=&lit=/\u{4e2d} %24%7Bobject%7D"
        );
    }

    #[test]
    fn json_gets_its_quotes_and_an_empty_number_breaks_it() {
        let template = r#"{"o":${object},"s":${size},"h":${imageInfo.height},"u":${x:undefined},"i":${imageInfo}}"#;
        assert_eq!(
            fill(template, CallbackBodyType::Json, None),
            "{\"o\":\"a/b c+\\\"\\\\\u{4e2d}\\n.jpg\",\"s\":5,\"h\":,\"u\":null,\"i\":null}"
        );
        let image = Image {
            width: 810,
            height: 539,
            format: "jpg".to_owned(),
        };
        assert_eq!(
            fill(
                "\"${size},${imageInfo.height}\" ${imageInfo}",
                CallbackBodyType::Json,
                Some(&image)
            ),
            r#""5,539" {"height":539,"width":810,"format":"jpg"}"#
        );
    }

    #[test]
    fn a_dollar_needs_its_braces() {
        for bad in [
            "$",
            "a$b",
            "$(object)",
            "$ {object}",
            "${object",
            "${object}$",
        ] {
            assert_eq!(Template::parse(bad), None, "{bad}");
        }
        for good in ["", "put-object-callback", "%24(object)", "${}", "}{"] {
            assert!(Template::parse(good).is_some(), "{good}");
        }
    }
}
