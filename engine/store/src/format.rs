//! The format of records, with its version.
//!
//! A record is the JSON of [`Record`] as `serde_json` writes it, without spaces. When that type
//! changes so that older bytes no longer read as before, [`FORMAT`] goes up by one, and the reader
//! of the version before is kept as a function of its own beside [`decode`]'s match, with its own
//! copy of the types where they differ.

use phasegate_core::event::Record;

/// The version that this engine writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The oldest version that this engine reads.
pub const OLDEST: u32 = 1;

/// A record that can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A later engine wrote it.
    #[error("its format is {0}")]
    Newer(u32),
    /// There never was such a format.
    #[error("there is no format {0}")]
    Unknown(u32),
    /// It isn't JSON, or not of a record.
    #[error("it is not a record")]
    Malformed(#[source] serde_json::Error),
    /// Reading it back would give another record: it holds a number that JSON can't.
    #[error("it would be read back as another record")]
    Lossy,
}

/// The record's bytes in the newest format. Refuses a record that would not be read back the same.
///
/// # Errors
/// [`Error::Malformed`] or [`Error::Lossy`].
pub fn encode(record: &Record) -> Result<Vec<u8>, Error> {
    let bytes = serde_json::to_vec(record).map_err(Error::Malformed)?;
    if decode(FORMAT, &bytes)? != *record {
        return Err(Error::Lossy);
    }
    Ok(bytes)
}

/// The record in these bytes of that format.
///
/// # Errors
/// [`Error::Newer`], [`Error::Unknown`] or [`Error::Malformed`].
pub fn decode(format: u32, bytes: &[u8]) -> Result<Record, Error> {
    match format {
        1 => serde_json::from_slice(bytes).map_err(Error::Malformed),
        newer if newer > FORMAT => Err(Error::Newer(newer)),
        unknown => Err(Error::Unknown(unknown)),
    }
}
