//! `docs/testing.md` explains every case that a test is named after, and `docs/deployment.md`
//! contains the server of the examples.

use std::{collections::BTreeSet, fs, path::Path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FAMILIES: [&str; 12] = [
    "ku", "kf", "kp", "sg", "cn", "rp", "co", "lg", "rv", "df", "pl", "ps",
];

#[test]
fn every_case_has_a_line_in_the_testing_guide() {
    let guide = fs::read_to_string(Path::new(ROOT).join("docs/testing.md")).unwrap();
    let listed: BTreeSet<_> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(case, _)| case.to_lowercase())
        .collect();
    let mut named = BTreeSet::new();
    // The last three are not in the published package.
    for folder in ["src", "tests", "emulator", "e2e", "examples"] {
        collect_cases(&Path::new(ROOT).join(folder), &mut named);
    }
    assert!(named.len() > 200, "{}", named.len());
    let missing: Vec<_> = named.difference(&listed).collect();
    assert!(missing.is_empty(), "not in docs/testing.md: {missing:?}");
}

/// The guide shows parts of a test that runs, so they compile.
#[test]
fn the_guide_to_tests_shows_a_test_that_runs() {
    let read = |path: &str| fs::read_to_string(Path::new(ROOT).join(path));
    // The emulator is not in the published package.
    let Ok(shown) = read("emulator/tests/emulator/your_app.rs") else {
        return;
    };
    let guide = read("docs/testing-your-app.md").unwrap();
    let blocks: Vec<_> = guide
        .split("```rust,ignore\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert_eq!(blocks.len(), 5);
    for block in blocks {
        assert!(shown.contains(block), "not in the test: {block}");
    }
}

/// Adds the cases in the names of functions below `folder`: `rp-07` and `df-20b` of
/// `rp_07_df_20b_requests`.
fn collect_cases(folder: &Path, cases: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_cases(&path, cases);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let identifiers = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            identifiers.for_each(|name| cases.extend(cases_of(name)));
        }
    }
}

fn cases_of(name: &str) -> Vec<String> {
    let words: Vec<_> = name.split('_').collect();
    let mut cases = Vec::new();
    let mut rest = &words[..];
    while let [family, number, others @ ..] = rest {
        let digits = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let is_number = digits.len() >= 2 && digits.bytes().all(|b| b.is_ascii_digit());
        if !FAMILIES.contains(family) || !is_number {
            break;
        }
        cases.push(format!("{family}-{number}"));
        rest = others;
    }
    cases
}

#[test]
fn cases_are_read_from_names() {
    assert_eq!(cases_of("rp_07_df_20b_requests"), ["rp-07", "df-20b"]);
    assert_eq!(cases_of("ku_110_x"), ["ku-110"]);
    assert!(cases_of("rp_none_of_them").is_empty());
}

#[test]
fn the_server_to_copy_is_the_one_of_the_examples() {
    let guide = fs::read_to_string(Path::new(ROOT).join("docs/deployment.md")).unwrap();
    for name in ["serve.rs", "stop.rs"] {
        let path = Path::new(ROOT).join("examples/common").join(name);
        let text = fs::read_to_string(path).unwrap();
        let code: Vec<_> = text
            .lines()
            .skip_while(|line| line.starts_with("//!"))
            .collect();
        let code = code.join("\n");
        assert!(code.lines().count() > 20, "{name}");
        let printed = format!("```rust\n{}\n```", code.trim());
        assert!(
            guide.contains(&printed),
            "{name} differs from docs/deployment.md"
        );
    }
}
