//! Files that people write, read with a limit on their size, and files that are written whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, Place, codes};
use phasegate_core::yaml::MAX_BYTES;

/// Most bytes of a saved plan.
pub const MAX_PLAN: usize = 16 << 20;
/// Most bytes of a file that people write.
pub const MAX_TEXT: usize = MAX_BYTES;
/// The name that stands for standard input.
pub const STDIN: &str = "-";

/// Reads a file that people write; `-` is standard input. What is longer than a file may be is not
/// read to its end.
///
/// # Errors
/// A coded fault where it can't be read or is too long.
pub fn read(file: &str) -> Result<Vec<u8>, Diagnostic> {
    read_up_to(file, MAX_BYTES)
}

/// As [`read`], with another limit.
///
/// # Errors
/// A coded fault where it can't be read or is too long.
pub fn read_up_to(file: &str, most: usize) -> Result<Vec<u8>, Diagnostic> {
    let unreadable = |error: &io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "check the path; it is taken from the working directory",
            io::ErrorKind::PermissionDenied => "you may not read it",
            _ => "a regular file is expected",
        };
        Diagnostic::new(
            codes::FILE_UNREADABLE,
            format!("the file `{file}` can't be read"),
        )
        .at(Place::file(file))
        .expected("a file that can be read")
        .found(error.to_string())
        .hint(hint)
    };
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let length = if file == STDIN {
        io::stdin()
            .lock()
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|e| unreadable(&e))?;
        0
    } else {
        let opened = File::open(file).map_err(|e| unreadable(&e))?;
        let about = opened.metadata().map_err(|e| unreadable(&e))?;
        if about.is_dir() {
            return Err(unreadable(&io::Error::other("a directory")));
        }
        if about.len() <= limit {
            opened
                .take(limit.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|e| unreadable(&e))?;
        }
        about.len()
    };
    if length > limit || bytes.len() > most {
        let found = if length > limit {
            format!("{length} bytes")
        } else {
            format!("more than {most} bytes")
        };
        return Err(
            Diagnostic::new(codes::FILE_TOO_BIG, format!("the file `{file}` is too big"))
                .at(Place::file(file))
                .expected(format!("at most {most} bytes"))
                .found(found)
                .hint("a file of this kind is written by people; is this the right one?"),
        );
    }
    Ok(bytes)
}

/// Writes a file that must not be there yet.
///
/// # Errors
/// A coded fault where it is there, or can't be written.
pub fn create(path: &Path, text: &str) -> Result<(), Diagnostic> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|e| unwritable(path, &e))?;
    file.write_all(text.as_bytes())
        .map_err(|e| unwritable(path, &e))
}

/// Writes a file whole or not at all; an earlier one is replaced.
///
/// # Errors
/// A coded fault where it can't be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = Path::new(&partial);
    let written = File::create(partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(partial, path));
    if done.is_err() {
        // What is left behind is only clutter.
        let _ = fs::remove_file(partial);
    }
    done.map_err(|e| unwritable(path, &e))
}

/// Looks whether a file may be written that is written only later, when it is too late to ask for
/// another name.
///
/// # Errors
/// A coded fault where its directory isn't there, or a directory is in its place.
pub fn may_be_written(path: &Path) -> Result<(), Diagnostic> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let about = fs::metadata(folder).map_err(|e| unwritable(path, &e))?;
    if !about.is_dir() || path.is_dir() {
        return Err(unwritable(path, &io::Error::other("not a file's name")));
    }
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let path = path.display().to_string();
    let fault = Diagnostic::new(
        codes::FILE_UNREADABLE,
        format!("the file `{path}` can't be written"),
    )
    .at(Place::file(path.as_str()))
    .found(error.to_string());
    match error.kind() {
        io::ErrorKind::AlreadyExists => fault
            .expected("no file of that name")
            .hint("it was left as it is; choose another name or remove it"),
        _ => fault.hint("check that the directory is there and that you may write to it"),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests set their files up")]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("release.yaml");
        create(&path, "one").unwrap();
        let fault = create(&path, "two").unwrap_err();
        assert!(fault.to_string().contains("left as it is"), "{fault}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big.yaml");
        let file = File::create(&path).unwrap();
        file.set_len(100 << 20).unwrap();
        let fault = read(path.to_str().unwrap()).unwrap_err();
        assert_eq!(fault.code(), codes::FILE_TOO_BIG);
        assert_eq!(fault.found_text(), Some("104857600 bytes"));
        let fault = read(folder.path().to_str().unwrap()).unwrap_err();
        assert_eq!(fault.code(), codes::FILE_UNREADABLE);
    }
}
