//! The files of the page at `/_emulator/`.

/// A file of the page.
pub(super) struct PageFile {
    /// The path below `/_emulator/`.
    pub(super) name: &'static str,
    pub(super) content_type: &'static str,
    pub(super) content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $kind:ident $file:literal)+) => {
        [$(PageFile {
            name: $name,
            content_type: $kind,
            content: include_bytes!(concat!("page/", $file)),
        }),+]
    };
}

pub(super) const FILES: [PageFile; 9] = files! {
    "" HTML "index.html"
    "icon.svg" SVG "icon.svg"
    "colors.css" CSS "colors.css"
    "style.css" CSS "style.css"
    "app.js" SCRIPT "app.js"
    "dom.js" SCRIPT "dom.js"
    "element.js" SCRIPT "element.js"
    "objects.js" SCRIPT "objects.js"
    "requests.js" SCRIPT "requests.js"
};
