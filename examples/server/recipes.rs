//! The code that the page shows for the reader's own application.
//!
//! It is cut out of files that cargo compiles or tests, so it cannot become outdated.

use serde_json::{Value, json};

/// A part of a file: the lines from the one that starts with `first` through the next `last`.
struct Part {
    /// The path of the file in the repository.
    file: &'static str,
    text: &'static str,
    first: &'static str,
    last: &'static str,
}

struct Recipe {
    name: &'static str,
    part: Part,
    /// More code that the recipe needs. An empty part is the whole file.
    more: Option<Part>,
}

/// Creates a recipe from a file below `examples`.
macro_rules! example {
    ($name:literal, $file:literal, $first:literal, $last:literal) => {
        Recipe {
            name: $name,
            part: Part {
                file: concat!("examples/", $file),
                text: include_str!(concat!("../", $file)),
                first: $first,
                last: $last,
            },
            more: Some(Part {
                file: concat!("examples/", $file),
                text: include_str!(concat!("../", $file)),
                first: "",
                last: "",
            }),
        }
    };
}

const README: &str = include_str!("../../README.md");

const RECIPES: [Recipe; 8] = [
    Recipe {
        name: "axum",
        part: Part {
            file: "README.md",
            text: README,
            first: "fn app(",
            last: "}",
        },
        more: Some(Part {
            file: "README.md",
            text: README,
            first: "async fn authorize(",
            last: "    CallbackReply::ok()\n}",
        }),
    },
    example!(
        "hyper",
        "frameworks/hyper.rs",
        "    let policy = ",
        "    });"
    ),
    example!("tonic", "frameworks/tonic.rs", "fn app(", "}"),
    example!(
        "Loco",
        "loco/loco.rs",
        "    async fn after_routes(",
        "    }"
    ),
    example!("warp", "frameworks/warp.rs", "    let policy = ", "    });"),
    example!("poem", "frameworks/poem.rs", "fn app(", "}"),
    example!("salvo", "frameworks/salvo.rs", "fn app(", "}"),
    Recipe {
        name: "browser",
        part: Part {
            file: "docs/browser.md",
            text: include_str!("../../docs/browser.md"),
            first: "async function upload(",
            last: "}",
        },
        more: None,
    },
];

/// Returns the recipes for the page, or the name of one that is not in its file.
pub(crate) fn recipes() -> Result<Value, String> {
    RECIPES.iter().map(Recipe::shown).collect()
}

impl Recipe {
    fn shown(&self) -> Result<Value, String> {
        let more = self.more.as_ref().map(|part| part.shown(self.name));
        let mut shown = self.part.shown(self.name)?;
        shown["name"] = self.name.into();
        shown["more"] = more.transpose()?.into();
        Ok(shown)
    }
}

impl Part {
    fn shown(&self, recipe: &str) -> Result<Value, String> {
        let missing = || format!("{} has no code for {recipe}", self.file);
        let code = self.code().ok_or_else(missing)?;
        Ok(json!({ "file": self.file, "code": code }))
    }

    /// Cuts the lines out of the file, without their common indentation.
    fn code(&self) -> Option<String> {
        if self.first.is_empty() {
            return Some(self.text.trim_end().to_owned());
        }
        let start = self.text.find(&format!("\n{}", self.first))? + 1;
        let end = self.text[start..].find(&format!("\n{}\n", self.last))?;
        let end = start + end + 1 + self.last.len();
        let indent = self.first.len() - self.first.trim_start().len();
        let lines = self.text[start..end].lines();
        let lines: Vec<_> = lines
            .map(|line| line.get(indent..).unwrap_or(line))
            .collect();
        Some(lines.join("\n"))
    }
}
