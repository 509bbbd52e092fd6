//! What a user sees when something is wrong: a stable code, what was expected, what was found,
//! where, and what to do about it.
//!
//! Every fault that can reach a user is a [`Diagnostic`] with a [`Code`]. The codes and their pages
//! live in [`catalogue`]; `phasegate explain PG0104` prints one. To add a code, add one entry to the
//! file of its range in `diagnostic/catalogue/`.
//!
//! ```
//! use phasegate_core::diagnostic::{Diagnostic, Place, codes};
//!
//! let fault = Diagnostic::new(codes::DANGLING_NAME, "phase `deploy` asks a gate that is not there")
//!     .expected("one of `error-rate`, `workload`")
//!     .found("`eror-rate`")
//!     .at(Place::file("release.yaml").line(12, 9).pointer("/phases/0/strategy/gates/0"))
//!     .hint("did you mean `error-rate`?");
//! assert!(fault.to_string().starts_with("error[PG0120]: phase `deploy` asks"));
//! assert!(fault.to_string().contains("--> release.yaml:12:9"));
//! ```

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub mod catalogue;
mod list;
mod secret;
mod suggest;

pub use catalogue::{Page, codes, page, pages};
pub use list::{Diagnostics, MAX_DIAGNOSTICS};
pub use secret::{looks_secret, redacted, secret_value};
pub use suggest::{listed, nearest};

/// The longest text that one part of a diagnostic keeps, in characters. The rest is cut.
pub const MAX_TEXT: usize = 2000;
/// How many causes a diagnostic keeps of an error's chain of sources.
pub const MAX_CAUSES: usize = 16;

/// A stable number of a kind of fault, printed as `PG0104`. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// The code with this number. Meant for the catalogue; users of codes take them from [`codes`].
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The bare number, 104 for `PG0104`.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PG{:04}", self.0)
    }
}

impl FromStr for Code {
    type Err = String;

    /// Reads `PG0104`, and forgives `pg104` and `104`, since people type codes from memory.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let digits = match trimmed.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("pg") => {
                trimmed.get(2..).unwrap_or_default()
            }
            _ => trimmed,
        };
        let well_formed =
            !digits.is_empty() && digits.len() <= 4 && digits.bytes().all(|b| b.is_ascii_digit());
        let number = if well_formed {
            digits.parse().ok()
        } else {
            None
        };
        number
            .map(Self)
            .ok_or_else(|| format!("`{}` is not a code; codes look like PG0104", clean(text)))
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Where a fault is: a file, and as far as known the line, the column and the JSON pointer in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file's name as the user gave it.
    pub file: String,
    /// Counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Counted from 1, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// RFC 6901 pointer to the value, for programs that read the JSON output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

impl Place {
    /// A place that is a whole file.
    #[must_use]
    pub fn file(name: impl Into<String>) -> Self {
        Self {
            file: clean(&name.into()),
            line: None,
            column: None,
            pointer: None,
        }
    }

    /// The same file at a line and column, both counted from 1.
    #[must_use]
    pub fn line(mut self, line: u32, column: u32) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    /// The same place with the JSON pointer of the value.
    #[must_use]
    pub fn pointer(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(clean(&pointer.into()));
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        Ok(())
    }
}

/// One fault, told to a user. Built with [`Diagnostic::new`] and the methods that follow it.
///
/// Texts are kept short and free of control characters, whatever came in, so that a file or a
/// plugin can't write escape sequences to an operator's terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostic(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parts {
    code: Code,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

impl Diagnostic {
    /// A fault with its code and one lower-case sentence without a full stop. What to do about it is what the
    /// code's [page] says, until there is a [hint](Self::hint) that knows more.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = clean(&message.into());
        Self(Box::new(Parts {
            code,
            message,
            place: None,
            expected: None,
            found: None,
            hint: page(code).map(|page| page.fix.to_owned()),
            causes: Vec::new(),
        }))
    }

    /// What would have been right.
    #[must_use]
    pub fn expected(mut self, text: impl Into<String>) -> Self {
        self.0.expected = Some(clean(&text.into()));
        self
    }

    /// What was there instead.
    #[must_use]
    pub fn found(mut self, text: impl Into<String>) -> Self {
        self.0.found = Some(clean(&text.into()));
        self
    }

    /// Where it is.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        self.0.hint = Some(clean(&text.into()));
        self
    }

    /// The error beneath, and its sources down to [`MAX_CAUSES`] of them.
    #[must_use]
    pub fn caused_by(mut self, error: &dyn Error) -> Self {
        let chain = std::iter::successors(Some(error), |&e| e.source());
        self.0
            .causes
            .extend(chain.take(MAX_CAUSES).map(|e| clean(&e.to_string())));
        self.0.causes.truncate(MAX_CAUSES);
        self
    }

    /// A cause that is known as text only.
    #[must_use]
    pub fn because(mut self, text: impl Into<String>) -> Self {
        if self.0.causes.len() < MAX_CAUSES {
            self.0.causes.push(clean(&text.into()));
        }
        self
    }

    /// The kind of fault.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence that says what is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it is, if it is in a file.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }

    /// What would have been right.
    #[must_use]
    pub fn expected_text(&self) -> Option<&str> {
        self.0.expected.as_deref()
    }

    /// What was there instead.
    #[must_use]
    pub fn found_text(&self) -> Option<&str> {
        self.0.found.as_deref()
    }

    /// What to do about it.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The errors beneath, outermost first.
    #[must_use]
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }
}

impl fmt::Display for Diagnostic {
    /// Several lines of plain text, readable without colour, without a newline at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &*self.0;
        write!(f, "error[{}]: {}", parts.code, parts.message)?;
        if let Some(place) = &parts.place {
            write!(f, "\n  --> {place}")?;
        }
        let lines = [("expected", &parts.expected), ("found", &parts.found)];
        for (label, text) in lines
            .into_iter()
            .filter_map(|(label, text)| text.as_ref().map(|t| (label, t)))
        {
            write!(f, "\n{label:>10}: {}", indented(text))?;
        }
        for cause in &parts.causes {
            write!(f, "\n{:>10}: {}", "because", indented(cause))?;
        }
        if let Some(hint) = &parts.hint {
            write!(f, "\n{:>10}: {}", "hint", indented(hint))?;
        }
        Ok(())
    }
}

impl Error for Diagnostic {}

fn indented(text: &str) -> String {
    text.replace('\n', "\n            ")
}

/// Cuts a text to [`MAX_TEXT`] characters and spells control characters out.
fn clean(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(MAX_TEXT));
    for (count, c) in text.chars().enumerate() {
        if count == MAX_TEXT {
            kept.push('…');
            break;
        }
        // Marks that reorder text make a line on the terminal read as what it isn't.
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\n') || reorders {
            kept.extend(c.escape_default());
        } else {
            kept.push(c);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_diagnostic_reads_as_plain_text() {
        let io = std::io::Error::other("disk on fire");
        let fault = Diagnostic::new(codes::UNKNOWN_FIELD, "unknown field `polcy`")
            .at(Place::file("release.yaml")
                .line(12, 3)
                .pointer("/gates/a/polcy"))
            .expected("one of `config`, `policy`")
            .found("`polcy`")
            .caused_by(&io)
            .hint("did you mean `policy`?");
        insta::assert_snapshot!(fault, @r"
        error[PG0104]: unknown field `polcy`
          --> release.yaml:12:3
          expected: one of `config`, `policy`
             found: `polcy`
           because: disk on fire
              hint: did you mean `policy`?
        ");
    }

    #[test]
    fn json_output_survives_a_round_trip() {
        let fault = Diagnostic::new(codes::INTERNAL, "oops")
            .at(Place::file("a").line(1, 2))
            .because("x");
        let json = serde_json::to_value(&fault).unwrap();
        assert_eq!(json["code"], "PG0901");
        assert_eq!(json["place"]["line"], 1);
        assert_eq!(json["hint"], page(codes::INTERNAL).unwrap().fix);
        assert_eq!(serde_json::from_value::<Diagnostic>(json).unwrap(), fault);
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for text in ["PG0104", "pg0104", "pg104", "104", " PG0104 "] {
            assert_eq!(
                text.parse::<Code>().unwrap(),
                codes::UNKNOWN_FIELD,
                "{text}"
            );
        }
        for text in ["", "PG", "PGx", "E0104", "PG010499", "pg-1", "é104", "+104"] {
            assert!(text.parse::<Code>().is_err(), "{text}");
        }
    }

    #[test]
    fn escape_sequences_and_floods_stay_out_of_the_terminal() {
        let text = Diagnostic::new(codes::INTERNAL, "\u{1b}[2Jgone \u{202e}x")
            .found("y".repeat(1 << 20))
            .to_string();
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
        assert!(text.contains(r"\u{1b}[2Jgone"));
        assert!(text.len() < 3 * MAX_TEXT);
    }

    #[test]
    fn a_result_with_a_diagnostic_stays_small() {
        assert_eq!(size_of::<Diagnostic>(), size_of::<usize>());
    }
}
