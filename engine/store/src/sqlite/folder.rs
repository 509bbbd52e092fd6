//! The state directory.
//!
//! ```text
//! STATE/            0700
//!   journal.db      0600, and SQLite's log (-wal) and index of it (-shm) beside it
//!   anchors/RUN     where the journal of RUN ends
//!   locks/RUN.lock  held by the process that drives RUN
//! ```

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use phasegate_runtime::ports::JournalError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::fault;

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
        self.folder.join("locks").join(format!("{name}.lock"))
    }

    /// Makes what is missing, for this user alone.
    pub(super) fn make(&self) -> Result<(), JournalError> {
        let made: Vec<&Path> = self
            .folder
            .ancestors()
            .take_while(|folder| !folder.exists())
            .collect();
        for folder in [
            self.folder.clone(),
            self.anchors(),
            self.folder.join("locks"),
        ] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| {
                    fault::io(
                        format!("can't create the folder {}", folder.display()),
                        error,
                    )
                })?;
        }
        // SQLite gives its own files the rights of this one.
        private(&self.database())?;
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

/// Opens a file that only this user may read, or makes it.
fn private(path: &Path) -> Result<File, JournalError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| fault::io(format!("can't open {}", path.display()), error))
}

/// Takes a lock that the death of the process frees; none where another process has it.
pub(super) fn try_lock(path: &Path) -> Result<Option<File>, JournalError> {
    let file = private(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(fault::io(
            format!("can't lock {}", path.display()),
            error.into(),
        )),
    }
}
