//! docs/CONFORMANCE.md names the tests that prove each line of it. Here each of these names is looked up, so that a test which is renamed
//! or removed takes its line along.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by failing")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The links of the form ``[`test`](file)`` of a line of Markdown.
fn tests(line: &str) -> Vec<(&str, &str)> {
    line.split("[`")
        .skip(1)
        .map(|link| {
            let (test, rest) = link.split_once("`](").unwrap_or_else(|| panic!("a link without an address: {link}"));
            (test, rest.split_once(')').unwrap_or_else(|| panic!("a link without an end: {link}")).0)
        })
        .collect()
}

/// Whether `source`, in the language of the suffix of `file`, has a test of this name.
fn has(file: &Path, source: &str, test: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    match file.extension().and_then(|extension| extension.to_str()) {
        // The attribute is one of those directly above: `#[test]`, `#[actix_web::test]`, also in `proptest!`.
        Some("rs") => lines.iter().enumerate().any(|(at, line)| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            line.strip_prefix("fn ").and_then(|line| line.strip_prefix(test)).is_some_and(|rest| rest.starts_with('('))
                && lines[..at]
                    .iter()
                    .rev()
                    .take_while(|line| line.starts_with("#["))
                    .any(|line| line.ends_with("test]"))
        }),
        Some("js") => lines.iter().any(|line| {
            ["test(", "it("].iter().filter_map(|call| line.strip_prefix(call)).any(|arguments| {
                // In quotes or backquotes, and then what else the test takes.
                arguments
                    .get(1..)
                    .and_then(|name| name.strip_prefix(test))
                    .is_some_and(|rest| arguments.starts_with(['"', '`']) && rest.starts_with(['"', '`']))
            })
        }),
        Some("py") => lines.iter().any(|line| *line == format!("def {test}(self):")),
        _ => false,
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let page = fs::read_to_string(docs.join("CONFORMANCE.md")).unwrap();
    let mut sources: HashMap<PathBuf, String> = HashMap::new();
    let (mut missing, mut named) = (Vec::new(), 0);
    for line in page.lines() {
        let tests = tests(line);
        // The rows of a table, without its head.
        if line.starts_with("| ") && !line.starts_with("| what") && !line.starts_with("| ---") && tests.is_empty() {
            missing.push(format!("a line without a test: {line}"));
        }
        for (test, file) in tests {
            let file = docs.join(file);
            let source = sources.entry(file.clone()).or_insert_with(|| fs::read_to_string(&file).unwrap_or_default());
            named += 1;
            if !has(&file, source, test) {
                missing.push(format!("{}: {test}", file.display()));
            }
        }
    }
    assert!(missing.is_empty(), "named in docs/CONFORMANCE.md, and not there:\n{}", missing.join("\n"));
    assert!(named > 0, "no test is named");
}

#[test]
fn test_names_are_found_only_at_tests() {
    let rust = "#[test]\nfn one() {}\n\n#[actix_web::test]\nasync fn two() {}\n\nfn helper() {}\n// fn three()\n";
    let js = "test(\"four\", async () => {});\nit(`five ${n}`, () => {});\n// six\n";
    let python = "class Test:\n    def test_seven(self):\n        pass\n";
    for (file, source, test, expected) in [
        ("a.rs", rust, "one", true),
        ("a.rs", rust, "two", true),
        ("a.rs", rust, "on", false),
        ("a.rs", rust, "helper", false),
        ("a.rs", rust, "three", false),
        ("a.js", js, "four", true),
        ("a.js", js, "five ${n}", true),
        ("a.js", js, "five", false),
        ("a.js", js, "six", false),
        ("a.py", python, "test_seven", true),
        ("a.py", python, "test_eight", false),
        ("a.txt", rust, "one", false),
    ] {
        assert_eq!(has(Path::new(file), source, test), expected, "{file} {test}");
    }
    assert_eq!(tests("| a | [`x y`](../b.js), [`z`](c.rs) |"), [("x y", "../b.js"), ("z", "c.rs")]);
}
