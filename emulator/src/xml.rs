//! XML, as far as every answer needs it.

use std::borrow::Cow;

use bytes::Bytes;
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

/// A root with one level of elements.
pub(crate) fn document(root: &str, elements: &[(&str, &str)]) -> Bytes {
    let mut writer = Writer::new(Vec::new());
    let declaration = BytesDecl::new("1.0", Some("UTF-8"), None);
    let written = writer
        .write_event(Event::Decl(declaration))
        .and_then(|()| {
            writer.create_element(root).write_inner_content(|writer| {
                for (name, text) in elements {
                    let text = printable(text);
                    writer
                        .create_element(*name)
                        .write_text_content(BytesText::new(&text))?;
                }
                Ok(())
            })
        })
        .is_ok();
    debug_assert!(written, "writing into memory does not fail");
    writer.into_inner().into()
}

/// XML 1.0 cannot hold most control characters, not even escaped (section 2.2).
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let odd = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.contains(odd) {
        text.replace(odd, "\u{fffd}").into()
    } else {
        text.into()
    }
}
