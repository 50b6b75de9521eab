//! The code that the page shows for the reader's own application.
//!
//! It is cut out of files that cargo compiles or tests, so it cannot become outdated.

use serde_json::{Value, json};

#[expect(dead_code, reason = "compiled for the page, which shows it")]
mod hyper;

/// A part of a file: the lines from the one that starts with `first` through the next `last`.
struct Recipe {
    name: &'static str,
    /// The path of the file in the repository.
    file: &'static str,
    text: &'static str,
    first: &'static str,
    last: &'static str,
}

/// The functions that the recipes call.
const FUNCTIONS: Recipe = Recipe {
    name: "functions",
    file: "README.md",
    text: include_str!("../../README.md"),
    first: "async fn authorize(",
    last: "    CallbackReply::ok()\n}",
};

const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "axum",
        file: "README.md",
        text: include_str!("../../README.md"),
        first: "fn app(",
        last: "}",
    },
    Recipe {
        name: "hyper",
        file: "examples/server/recipes/hyper.rs",
        text: include_str!("recipes/hyper.rs"),
        first: "pub(crate) fn app(",
        last: "}",
    },
    Recipe {
        name: "tonic",
        file: "examples/tonic/main.rs",
        text: include_str!("../tonic/main.rs"),
        first: "    let beside_server = ",
        last: "        .serve_with_incoming_shutdown(TcpIncoming::bind(beside)?, interrupted());",
    },
    Recipe {
        name: "browser",
        file: "docs/browser.md",
        text: include_str!("../../docs/browser.md"),
        first: "async function upload(",
        last: "}",
    },
];

/// Returns the recipes for the page, or the name of one that is not in its file.
pub(crate) fn recipes() -> Result<Value, String> {
    let recipes: Vec<_> = RECIPES
        .iter()
        .map(Recipe::shown)
        .collect::<Result<_, _>>()?;
    Ok(json!({ "recipes": recipes, "functions": FUNCTIONS.shown()? }))
}

impl Recipe {
    fn shown(&self) -> Result<Value, String> {
        let code = self
            .code()
            .ok_or_else(|| format!("{} has no code for {}", self.file, self.name))?;
        Ok(json!({ "name": self.name, "file": self.file, "code": code }))
    }

    /// Cuts the lines out of the file, without their common indentation.
    fn code(&self) -> Option<String> {
        let start = format!("\n{}", self.first);
        let start = self.text.find(&start)? + 1;
        let end = format!("\n{}\n", self.last);
        let end = start + self.text[start..].find(&end)? + 1 + self.last.len();
        let indent = self.first.len() - self.first.trim_start().len();
        let lines = self.text[start..end].lines();
        let lines: Vec<_> = lines
            .map(|line| line.get(indent..).unwrap_or(line))
            .collect();
        Some(lines.join("\n"))
    }
}
