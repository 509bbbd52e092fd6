//! Ids of runs, which serve as names of files.

use phasegate_runtime::ports::JournalError;

use crate::limits::MAX_RUN_ID;

/// Refuses an id that isn't made of `a-z`, `0-9`, `-` and `.`, beginning and ending with a letter
/// or digit: such a name stays within its directory wherever it is put.
pub(crate) fn check(run: &str) -> Result<(), JournalError> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = run.as_bytes();
    let well_formed = bytes.len() <= MAX_RUN_ID
        && bytes.first().copied().is_some_and(inner)
        && bytes.last().copied().is_some_and(inner)
        && bytes.iter().all(|&b| inner(b) || b == b'-' || b == b'.')
        && !run.contains("..");
    if well_formed {
        return Ok(());
    }
    let shown: String = run.chars().take(MAX_RUN_ID).collect();
    Err(JournalError::Limit(format!(
        "`{}` is not a run's id: lower-case letters, digits, `-` and `.`, at most {MAX_RUN_ID}, are",
        shown.escape_debug()
    )))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn ids_that_could_leave_the_directory_are_refused() {
        for good in ["a", "shop-1.4.2-20261117", "x9", &"a".repeat(100)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "../a",
            "a..b",
            "-a",
            "a-",
            "A",
            "a b",
            "a\0b",
            "ä",
            &"a".repeat(101),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
