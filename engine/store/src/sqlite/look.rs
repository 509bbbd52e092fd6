//! Opening a journal to read it where it can't be written to: on a read-only disk, in an archived copy.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use phasegate_runtime::ports::JournalError;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::fault;
use super::folder::Layout;
use super::schema::{self, Version};

/// Opens the journal, and makes and changes nothing. Returns its seat too.
pub(super) fn open(layout: &Layout) -> Result<(Connection, String), JournalError> {
    let log = layout.log();
    let length = match log.metadata() {
        Ok(about) => about.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(fault::io(format!("can't look at {}", log.display()), error)),
    };
    // With nothing in its log the database is the file as it is. Otherwise the log counts, and SQLite
    // needs the index of it.
    let how = if length == 0 {
        "immutable=1"
    } else {
        "mode=ro"
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(format!("file:{}?{how}", in_uri(&layout.database())), flags)
            .map_err(fault::sql)?;
    schema::bounds(&connection)?;
    match schema::version(&connection) {
        Ok(Version::This) => {}
        Ok(Version::None) => return Err(fault::plain("the journal's database is empty")),
        Err(JournalError::Storage(_, Some(source))) if length > 0 && unreadable_log(&*source) => {
            return Err(JournalError::Storage(
                "the journal's last records are in its log, which can't be read here: copy the whole state directory to where it can be written to".to_owned(),
                Some(source),
            ));
        }
        Err(error) => return Err(error),
    }
    schema::distrust(&connection)?;
    let seat = schema::seat(layout, &connection)?;
    Ok((connection, seat))
}

fn unreadable_log(source: &(dyn std::error::Error + 'static)) -> bool {
    let code = source
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    matches!(code, Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// A path as it stands in a URI.
fn in_uri(path: &Path) -> String {
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing into a string doesn't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
