//! The document of the stream names every type of line that the core says.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const DOCUMENT: &str = include_str!("../../../../docs/stream.md");

/// The first literal of every call that says a line.
fn said(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "tests") {
                said(&path, found);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for call in [".say(", ".say_attempt(", ".note(by,"] {
            for after in text.split(call).skip(1) {
                let Some(rest) = after.trim_start().strip_prefix('"') else {
                    continue;
                };
                found.insert(rest.split('"').next().unwrap().to_owned());
            }
        }
    }
}

#[test]
fn every_type_of_line_is_documented() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src/run");
    let mut found = BTreeSet::new();
    said(&core, &mut found);
    assert!(found.len() > 50, "{found:?}");
    let missing = found
        .iter()
        .filter(|kind| !DOCUMENT.contains(&format!("`{kind}`")))
        .collect::<Vec<_>>();
    assert!(missing.is_empty(), "docs/stream.md lacks {missing:?}");
}
