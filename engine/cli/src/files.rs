//! Files that people write, read with a limit on their size, and files that are written whole.

#![expect(
    clippy::disallowed_methods,
    reason = "the room in which the command line reads and writes files"
)]

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, Place, codes};
use phasegate_core::yaml::MAX_BYTES;
use rustix::fs::OFlags;

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
/// A coded fault where it is there, or can't be written; then it isn't there.
pub fn create(path: &Path, text: &str) -> Result<(), Diagnostic> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(|e| unwritable(path, &e))?;
    file.write_all(text.as_bytes()).map_err(|e| {
        // It is ours, and half of it is of no use.
        let _ = fs::remove_file(path);
        unwritable(path, &e)
    })
}

/// Writes a file whole or not at all; an earlier one is replaced. What is there and isn't a regular
/// file, such as a pipe or a device, stays what it is and is written into; a link stays a link.
///
/// # Errors
/// A coded fault where it can't be written.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
    let written = match fs::metadata(path) {
        Ok(there) => match own_stream(&there) {
            // `/dev/stdout`, by whatever name: opened anew it would be written from its beginning.
            Some(stream) => stream.and_then(|mut stream| stream.write_all(bytes)),
            None if there.is_file() => {
                return match fs::canonicalize(path) {
                    Ok(real) => put_in_place(&real, bytes),
                    Err(e) => Err(unwritable(path, &e)),
                };
            }
            None => into_special(path, bytes),
        },
        // A link that leads nowhere: what it names is made.
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            File::create(path).and_then(|mut file| file.write_all(bytes))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return put_in_place(path, bytes),
        Err(e) => Err(e),
    };
    written.map_err(|e| unwritable(path, &e))
}

/// Standard output or error, where that is what this is.
fn own_stream(there: &Metadata) -> Option<io::Result<File>> {
    let (out, errors) = (io::stdout(), io::stderr());
    let streams: [BorrowedFd<'_>; 2] = [out.as_fd(), errors.as_fd()];
    let own = streams.into_iter().find(|stream| {
        rustix::fs::fstat(stream)
            .is_ok_and(|stream| (stream.st_dev, stream.st_ino) == (there.dev(), there.ino()))
    })?;
    let own = own.try_clone_to_owned();
    Some(own.map(File::from))
}

/// Writes into what is no regular file. A pipe that nobody reads is a fault, and not waited for.
fn into_special(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let nobody_waits = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut file = OpenOptions::new()
        .write(true)
        .custom_flags(nobody_waits)
        .open(path)?;
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    file.write_all(bytes)
}

/// Writes a file of the state directory whole or not at all, which only its owner reads until others are let.
///
/// # Errors
/// A coded fault where it can't be written.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
    place(path, bytes, 0o600)
}

/// Writes beside a file, and puts what was written in the file's place.
fn put_in_place(path: &Path, bytes: &[u8]) -> Result<(), Diagnostic> {
    place(path, bytes, 0o666)
}

/// The same with this mode, but for what the process's mask takes away.
fn place(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Diagnostic> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = Path::new(&partial);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let written = options.open(partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(partial, path));
    if done.is_err() {
        // What is left behind is only clutter.
        let _ = fs::remove_file(partial);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if done.is_ok() {
        // Some file systems can't flush a folder; the file is there all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
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

/// How much room there has to be where something is begun: the first files of a state directory and
/// what SQLite takes at once.
const ROOM: usize = 64 << 10;

/// Whether a folder takes more bytes: writes some, and takes them away again.
///
/// # Errors
/// A coded fault where it doesn't.
pub fn room(folder: &Path) -> Result<(), Diagnostic> {
    let path = folder.join(format!(".room.{}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; ROOM])?;
        file.sync_all()
    });
    // What stays is clutter, and is overwritten the next time.
    let _ = fs::remove_file(&path);
    written.map_err(|e| unwritable(folder, &e))
}

/// Whether a write found no room, on the disk or in the user's quota.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// The fault of a write that found no room.
#[must_use]
pub fn full(what: &str, error: &io::Error) -> Diagnostic {
    Diagnostic::new(
        codes::DISK_FULL,
        format!("{what} can't be written: the disk is full"),
    )
    .expected("room on the disk, and in the quota")
    .found(error.to_string())
    .hint("make room, then give the command again; nothing half-written was left behind")
}

/// The fault of a file or folder that can't be written.
#[must_use]
pub fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    let path = path.display().to_string();
    if is_full(error) {
        return full(&format!("`{path}`"), error).at(Place::file(path.as_str()));
    }
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
        _ if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => fault
            .expected("somebody who reads the pipe")
            .hint("begin to read it first, or give a file's name"),
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
    fn what_is_no_regular_file_stays_what_it_is_and_is_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let fault = replace(&pipe, b"one").unwrap_err();
        assert_eq!(fault.code(), codes::FILE_UNREADABLE, "nobody reads");
        // Read and write: a pipe that is opened like this has a reader at once.
        let mut reader = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&pipe)
            .unwrap();
        replace(&pipe, b"two").unwrap();
        let mut read = [0; 3];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"two");
        use std::os::unix::fs::FileTypeExt;
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let fault = replace(folder.path(), b"x").unwrap_err();
        assert_eq!(fault.code(), codes::FILE_UNREADABLE);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (link, real) = (folder.path().join("link"), folder.path().join("real"));
        std::os::unix::fs::symlink("real", &link).unwrap();
        for text in ["one", "two"] {
            replace(&link, text.as_bytes()).unwrap();
            assert!(link.is_symlink());
            assert_eq!(fs::read_to_string(&real).unwrap(), text);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
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
