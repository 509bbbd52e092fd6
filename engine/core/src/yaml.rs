//! YAML files as data with positions: strict, bounded, and with errors that point at the line.
//!
//! A file is read into a [`Document`]: a JSON value, and the line and column of each of its parts.
//! [`parse`] goes on to a Rust type and says where the file doesn't fit it. The rules are those of
//! YAML 1.2's core schema, made stricter where a file could mean something else than it seems to:
//! keys are strings, none is given twice, there is one document, no merge keys and no foreign tags.
//!
//! Input is a stranger's. Everything that it could make large has a limit: bytes, depth, values,
//! and what aliases expand to. Nothing here recurses over the input except within the depth limit.
//!
//! ```
//! #[derive(Debug, serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Soak { interval: String }
//!
//! let faults = phasegate_core::yaml::parse::<Soak>("soak.yaml", b"intervall: 5m\n").unwrap_err();
//! assert!(faults.to_string().contains("soak.yaml:1:1"));
//! assert!(faults.to_string().contains("did you mean `interval`?"));
//! ```

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, codes};

mod build;
mod explain;
mod marks;
mod scalar;

pub use explain::coded_text;
use marks::Marks;
pub use marks::{Mark, escape};

/// The largest file, in bytes. Adapters need not read further than one byte more.
pub const MAX_BYTES: usize = 1024 * 1024;
/// How deeply lists and mappings may be nested, aliases expanded.
pub const MAX_DEPTH: usize = 64;
/// How many values a file may hold, aliases expanded.
pub const MAX_NODES: usize = 100_000;
/// How many bytes of text a file may hold once aliases are expanded.
pub const MAX_TEXT_BYTES: usize = 4 * MAX_BYTES;
/// How many unknown fields are looked for before a user is told.
const MAX_UNKNOWN_FIELDS: usize = 20;

/// A file that was read: its value, and where each part of it stands.
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    value: Value,
    marks: Marks,
}

/// A file as a Rust type, together with the document it came from.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    /// What the file says.
    pub value: T,
    /// Where it says so.
    pub document: Document,
}

impl Document {
    /// The file's name as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole file as JSON.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value at an RFC 6901 pointer.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&Value> {
        self.value.pointer(pointer)
    }

    /// Where the value at this pointer begins; where there is none, its nearest ancestor.
    #[must_use]
    pub fn place(&self, pointer: &str) -> Place {
        self.locate(pointer, self.marks.value(pointer))
    }

    /// Where the key of this value stands, or the value itself where it has none.
    #[must_use]
    pub fn key_place(&self, pointer: &str) -> Place {
        self.locate(pointer, self.marks.key(pointer))
    }

    fn locate(&self, pointer: &str, mark: Mark) -> Place {
        Place::file(self.file.as_str())
            .line(mark.line, mark.column)
            .pointer(pointer)
    }
}

/// Reads a file into its value and positions.
///
/// # Errors
///
/// The first place where the file is not the YAML that is read here, or exceeds a limit.
pub fn read(file: &str, bytes: &[u8]) -> Result<Document, Diagnostic> {
    if bytes.len() > MAX_BYTES {
        return Err(
            Diagnostic::new(codes::FILE_TOO_BIG, "the file is too big to be parsed")
                .at(Place::file(file))
                .expected(format!("at most {MAX_BYTES} bytes"))
                .found(format!("{} bytes", bytes.len())),
        );
    }
    let text = std::str::from_utf8(bytes).map_err(|e| not_utf8(file, bytes, e.valid_up_to()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (value, marks) = build::build(file, text)?;
    Ok(Document {
        file: file.to_owned(),
        value,
        marks,
    })
}

/// Reads a file into a Rust type.
///
/// # Errors
///
/// What [`read`] refuses; else where the file doesn't fit the type: every unknown field up to a
/// limit, and the first fault of any other kind.
pub fn parse<T: DeserializeOwned>(file: &str, bytes: &[u8]) -> Result<Parsed<T>, Diagnostics> {
    fit(read(file, bytes)?)
}

/// Turns a document that was read into a Rust type; errors as [`parse`].
///
/// # Errors
///
/// Where the document doesn't fit the type.
pub fn fit<T: DeserializeOwned>(document: Document) -> Result<Parsed<T>, Diagnostics> {
    let mut faults = Diagnostics::new();
    let mut rest = document.value.clone();
    // A user with three misspelt fields wants to hear of all three: each is removed and the rest
    // looked at again.
    for _ in 0..MAX_UNKNOWN_FIELDS {
        match serde_path_to_error::deserialize::<_, T>(&rest) {
            Ok(value) if faults.is_empty() => return Ok(Parsed { value, document }),
            Ok(_) => break,
            Err(error) => {
                let explained = explain::explain(&document, &error);
                faults.push(explained.fault);
                let Some((parent, key)) = explained.unknown_field else {
                    break;
                };
                let removed = rest
                    .pointer_mut(&parent)
                    .and_then(Value::as_object_mut)
                    .and_then(|map| map.remove(&key));
                if removed.is_none() {
                    break;
                }
            }
        }
    }
    faults.sort_by_place();
    Err(faults)
}

fn not_utf8(file: &str, bytes: &[u8], offset: usize) -> Diagnostic {
    let before = bytes.get(..offset).unwrap_or_default();
    let line = before
        .iter()
        .filter(|b| **b == b'\n')
        .count()
        .saturating_add(1);
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at.saturating_add(1));
    let line_text = String::from_utf8_lossy(before.get(start..).unwrap_or_default());
    let column = line_text.chars().count().saturating_add(1);
    let byte = bytes.get(offset).copied().unwrap_or_default();
    let utf16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
    Diagnostic::new(
        codes::NOT_UTF8,
        format!("the file is not UTF-8 from byte {offset} on"),
    )
    .at(Place::file(file).line(marks::clamp(line), marks::clamp(column)))
    .expected("UTF-8 text")
    .found(format!("byte 0x{byte:02x} at offset {offset}"))
    .hint(if utf16 {
        "this is UTF-16; save the file as UTF-8"
    } else {
        "save the file as UTF-8"
    })
}

#[cfg(test)]
mod tests;
