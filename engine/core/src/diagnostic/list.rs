//! Several faults at once, since a user wants to fix a file in one go.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Diagnostic;

/// How many faults are kept. More than this tells a user nothing new.
pub const MAX_DIAGNOSTICS: usize = 100;

/// A bounded list of faults, in the order in which they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    #[serde(rename = "diagnostics")]
    items: Vec<Diagnostic>,
    /// How many more there were.
    #[serde(default)]
    omitted: usize,
}

impl Diagnostics {
    /// No faults yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault; beyond [`MAX_DIAGNOSTICS`] it is counted only.
    pub fn push(&mut self, fault: Diagnostic) {
        if self.items.len() < MAX_DIAGNOSTICS {
            self.items.push(fault);
        } else {
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds what another list holds, and what it had to leave out.
    pub fn append(&mut self, other: Self) {
        self.extend(other.items);
        self.omitted = self.omitted.saturating_add(other.omitted);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many faults are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// How many faults were counted only.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    /// The faults that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// The value if nothing is wrong.
    ///
    /// # Errors
    ///
    /// The list itself if it holds a fault.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// Orders the faults as they stand in their files, so that a reader walks down the file once.
    pub fn sort_by_place(&mut self) {
        self.items
            .sort_by_key(|d| d.place().map(|p| (p.file.clone(), p.line, p.column)));
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, faults: I) {
        for fault in faults {
            self.push(fault);
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(fault: Diagnostic) -> Self {
        Self {
            items: vec![fault],
            omitted: 0,
        }
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

impl fmt::Display for Diagnostics {
    /// The faults with an empty line between, and how many more there were.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.items.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{fault}")?;
        }
        if self.omitted > 0 {
            write!(f, "\n\nand {} more", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::codes;

    #[test]
    fn the_list_is_bounded_and_says_what_it_left_out() {
        let mut list = Diagnostics::new();
        for n in 0..MAX_DIAGNOSTICS + 5 {
            list.push(Diagnostic::new(codes::INTERNAL, format!("fault {n}")));
        }
        assert_eq!((list.len(), list.omitted()), (MAX_DIAGNOSTICS, 5));
        assert!(list.to_string().ends_with("and 5 more"));
        assert!(list.into_result(()).is_err());
        assert_eq!(Diagnostics::new().into_result(7), Ok(7));
    }
}
