//! Every code, its title and its page. One file per range; one entry per code.
//!
//! | Range | About |
//! |---|---|
//! | PG01xx | the command line, files, YAML and the release |
//! | PG02xx | policy, approvals and windows |
//! | PG03xx | plugins and their host |
//! | PG04xx | cluster, target, claim and lease |
//! | PG05xx | journal and state directory |
//! | PG06xx | runs, commands and rollback |
//! | PG07xx | scenarios and rehearsal |
//! | PG09xx | faults of the engine itself |

use std::fmt;

use super::Code;

/// Defines codes together with their pages: `NAME = number, title: …, means: …, cause: …, fix: …,
/// example: …;`. The title becomes the constant's documentation.
macro_rules! codes {
    ($($name:ident = $number:literal, title: $title:literal, means: $means:literal, cause: $cause:literal, fix: $fix:literal, example: $example:literal;)+) => {
        $(#[doc = concat!($title, ".")] pub const $name: $crate::diagnostic::Code = $crate::diagnostic::Code::new($number);)+
        pub(super) const PAGES: &[$crate::diagnostic::Page] = &[
            $($crate::diagnostic::Page { code: $name, title: $title, means: $means, cause: $cause, fix: $fix, example: $example },)+
        ];
    };
}

mod cluster;
mod files;
mod internal;
mod journal;
mod plugins;
mod policy;
mod runs;
mod scenario;

/// The constants, one per kind of fault.
pub mod codes {
    pub use super::cluster::*;
    pub use super::files::*;
    pub use super::internal::*;
    pub use super::journal::*;
    pub use super::plugins::*;
    pub use super::policy::*;
    pub use super::runs::*;
    pub use super::scenario::*;
}

/// What `phasegate explain` prints about a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Page {
    /// The code it is about.
    pub code: Code,
    /// A short name of the fault.
    pub title: &'static str,
    /// What the fault is and why it stops the engine.
    pub means: &'static str,
    /// What most often leads to it.
    pub cause: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// What is wrong and what is right, or the commands that help.
    pub example: &'static str,
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n\n{}\n\nTypical cause\n  {}\n\nWhat to do\n  {}",
            self.code, self.title, self.means, self.cause, self.fix
        )?;
        f.write_str("\n\nExample")?;
        for line in self.example.lines() {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

const RANGES: [(u16, &[Page]); 8] = [
    (1, files::PAGES),
    (2, policy::PAGES),
    (3, plugins::PAGES),
    (4, cluster::PAGES),
    (5, journal::PAGES),
    (6, runs::PAGES),
    (7, scenario::PAGES),
    (9, internal::PAGES),
];

/// Every page, by ascending code.
pub fn pages() -> impl Iterator<Item = &'static Page> {
    RANGES.iter().flat_map(|(_, pages)| pages.iter())
}

/// The page of a code, if there is such a code.
#[must_use]
pub fn page(code: Code) -> Option<&'static Page> {
    pages().find(|page| page.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_ascending_and_in_their_range() {
        for (hundred, pages) in RANGES {
            for page in pages {
                assert_eq!(
                    page.code.number() / 100,
                    hundred,
                    "{} is in the wrong file",
                    page.code
                );
            }
        }
        let numbers: Vec<u16> = pages().map(|p| p.code.number()).collect();
        assert!(
            numbers.windows(2).all(|pair| pair[0] < pair[1]),
            "a code is twice or out of order: {numbers:?}"
        );
    }

    #[test]
    fn every_page_says_everything() {
        for page in pages() {
            for text in [page.title, page.means, page.cause, page.fix, page.example] {
                assert!(text.trim().len() >= 8, "{} has an empty part", page.code);
            }
            assert!(
                page.means.ends_with('.') && page.fix.ends_with('.'),
                "{} is not in full sentences",
                page.code
            );
        }
    }

    #[test]
    fn a_page_can_be_found_by_what_the_user_types() {
        let code = "pg0104".parse().unwrap();
        assert!(page(code).unwrap().to_string().contains("Typical cause"));
        assert!(page(Code::new(9999)).is_none());
    }
}
