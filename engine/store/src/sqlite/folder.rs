//! The state directory.
//!
//! ```text
//! STATE/            0700, where it is made here
//!   journal.db      0600, or as `crate::rights` has it; and SQLite's log (-wal) and index of it (-shm) beside it
//!   anchors/RUN     where the journal of RUN ends
//!   locks/RUN.lock  held by the process that drives RUN
//! ```

#![expect(
    clippy::disallowed_methods,
    reason = "the journal is a folder of files"
)]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phasegate_runtime::ports::JournalError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fault;
use crate::rights::Rights;

/// Where things are in a state directory.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
}

impl Layout {
    pub(super) fn database(&self) -> PathBuf {
        self.folder.join("journal.db")
    }

    /// SQLite's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("journal.db-wal")
    }

    pub(super) fn anchors(&self) -> PathBuf {
        self.folder.join("anchors")
    }

    pub(super) fn lock(&self, name: &str) -> PathBuf {
        self.locks().join(format!("{name}.lock"))
    }

    fn locks(&self) -> PathBuf {
        self.folder.join("locks")
    }

    /// Makes what is missing: the state directory for this user alone, the rest with the directory's rights.
    pub(super) fn make(&self) -> Result<(), JournalError> {
        let made: Vec<&Path> = self
            .folder
            .ancestors()
            .take_while(|folder| !folder.exists())
            .collect();
        let within = [self.anchors(), self.locks()];
        for folder in [&self.folder].into_iter().chain(&within) {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(|error| {
                    fault::io(
                        format!("can't create the folder {}", folder.display()),
                        error,
                    )
                })?;
        }
        let rights = Rights::within(&self.folder);
        for folder in &within {
            rights
                .give_to(folder)
                .map_err(|error| fault::io(format!("can't share {}", folder.display()), error))?;
        }
        // SQLite gives its own files the rights of this one.
        shared(&self.database())?;
        // What was made is there after a power cut only once the folder that names it is on disk.
        let named = [
            self.folder.as_path(),
            self.folder.parent().unwrap_or(&self.folder),
        ];
        for folder in named
            .into_iter()
            .chain(made.iter().filter_map(|made| made.parent()))
        {
            File::open(folder)
                .and_then(|folder| folder.sync_all())
                .map_err(|error| {
                    fault::io(format!("can't open the folder {}", folder.display()), error)
                })?;
        }
        Ok(())
    }
}

/// Opens a file, or makes it with the rights of its folder.
fn shared(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .and_then(|file| {
            let folder = path.parent().unwrap_or(path);
            Rights::within(folder).give(&file)?;
            Ok(file)
        })
        .map_err(|error| fault::io(format!("can't open {}", path.display()), error))
}

/// Whether another process has the lock; nothing is made, and nobody is kept from it for long.
pub(super) fn is_locked(path: &Path) -> Result<bool, JournalError> {
    let failed = |error| fault::io(format!("can't look at {}", path.display()), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(failed(error.into())),
    }
}

/// Takes a lock that the death of the process frees; none where another process has it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, JournalError> {
    let file = shared(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(fault::io(
            format!("can't lock {}", path.display()),
            error.into(),
        )),
    }
}
