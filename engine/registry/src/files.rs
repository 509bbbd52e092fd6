//! Reading files with a limit on their size.

#![expect(clippy::disallowed_methods, reason = "plugins are read from files")]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// What reading a file gave.
pub(crate) enum Content {
    /// All of it.
    Whole(Vec<u8>, File),
    /// It has more bytes than it may have.
    TooLarge,
}

/// Reads a regular file of at most `most` bytes. Whatever else has a name in the file system is
/// refused: reading a pipe or a device might never end.
pub(crate) fn read(path: &Path, most: usize) -> io::Result<Content> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    if meta.len() > most as u64 {
        return Ok(Content::TooLarge);
    }
    // It may grow while it is read.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    let limit = (most as u64).saturating_add(1);
    Read::take(&mut file, limit).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Ok(Content::TooLarge);
    }
    Ok(Content::Whole(bytes, file))
}
