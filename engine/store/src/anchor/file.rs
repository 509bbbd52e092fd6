//! The file of an anchor.

#![expect(clippy::disallowed_methods, reason = "an anchor is a file")]

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use phasegate_runtime::ports::{Head, JournalError};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Anchor, BLOCK_BYTES, FILE_BYTES, FLUSH_EVERY, Slot};

/// What this process knows of what is on disk of the anchor that it wrote last.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    run: String,
    /// The head that was flushed last, and when.
    last: Option<(Head, Instant)>,
    /// The anchor, where something was written to it that wasn't flushed.
    waiting: Option<File>,
}

impl Flushes {
    /// The head of this run's anchor that is on disk, if this process put it there.
    fn head(&self, run: &str) -> Option<&Head> {
        let last = self.last.as_ref().filter(|_| self.run == run);
        last.map(|(head, _)| head)
    }

    /// Flushes the anchor, or leaves that to a later append where the last flush was just now.
    #[expect(
        clippy::disallowed_methods,
        reason = "it is the disk of this machine that is spared, whatever the time in the world"
    )]
    fn flush(&mut self, held: &Held, head: &Head) -> io::Result<()> {
        let now = Instant::now();
        let recent = |at: Instant| now.duration_since(at) < FLUSH_EVERY;
        if self.run == held.run && self.last.as_ref().is_some_and(|(_, at)| recent(*at)) {
            if self.waiting.is_none() {
                self.waiting = Some(held.file.try_clone()?);
            }
            return Ok(());
        }
        if self.run == held.run {
            self.waiting = None;
        } else {
            self.end();
        }
        held.file.sync_data()?;
        self.run.clone_from(&held.run);
        self.last = Some((head.clone(), now));
        Ok(())
    }

    /// Flushes what waits for it.
    fn end(&mut self) {
        if let Some(file) = self.waiting.take() {
            // Where that fails the anchor may be behind after a power cut, as if this process had been killed.
            let _ = file.sync_data();
        }
    }
}

impl Drop for Flushes {
    fn drop(&mut self) {
        self.end();
    }
}

/// An anchor's file, held against other writers until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    file: File,
    run: String,
}

/// A process that is started meanwhile has a copy of the file until it becomes another program, and closing ours
/// alone would leave the lock to it.
impl Drop for Held {
    fn drop(&mut self) {
        // What can't be unlocked is let go of by closing it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Held {
    /// Opens an anchor to write it; none where there is none. Another process that writes is `InUse`.
    pub(crate) fn open(folder: &Path, run: &str) -> Result<Option<Self>, JournalError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path(folder, run));
        match opened {
            Ok(file) => Self::hold(file, run).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(fault("open", run, error)),
        }
    }

    /// Opens an anchor or makes a new one, which is to be [begun](Self::begin).
    pub(crate) fn create(folder: &Path, run: &str) -> Result<Self, JournalError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path(folder, run))
            .map_err(|error| fault("create", run, error))?;
        crate::rights::Rights::within(folder)
            .give(&file)
            .map_err(|error| fault("share", run, error))?;
        let held = Self::hold(file, run)?;
        if !held.is_at(&path(folder, run)) {
            // Whoever made the file has taken it away again in the meantime.
            return Err(JournalError::InUse(run.to_owned()));
        }
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| fault("create", run, error))?;
        Ok(held)
    }

    fn hold(file: File, run: &str) -> Result<Self, JournalError> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                file,
                run: run.to_owned(),
            }),
            Err(Errno::WOULDBLOCK) => Err(JournalError::InUse(run.to_owned())),
            Err(error) => Err(fault("lock", run, error.into())),
        }
    }

    /// Whether the file is the one at this path.
    fn is_at(&self, path: &Path) -> bool {
        let id = |meta: Metadata| (meta.dev(), meta.ino());
        let own = self.file.metadata().map(id).ok();
        own.is_some() && own == std::fs::metadata(path).map(id).ok()
    }

    /// Lets it say that there are no records yet. On disk when this returns.
    pub(crate) fn begin(&self, genesis: &Head) -> Result<(), JournalError> {
        let mut bytes = self.slot(genesis)?;
        bytes.resize(FILE_BYTES, b'\n');
        self.file
            .write_all_at(&bytes, 0)
            .and_then(|()| self.file.sync_all())
            .map_err(|error| fault("write", &self.run, error))
    }

    /// What it says.
    pub(crate) fn read(&self) -> Result<Anchor, JournalError> {
        let bytes = contents(&self.file).map_err(|error| fault("read", &self.run, error))?;
        Ok(Anchor::parse(&self.run, &bytes))
    }

    /// Lets it say where the journal ends, given what it says now. To be called when the rows are on disk.
    pub(crate) fn write(
        &self,
        now: &Anchor,
        head: &Head,
        flushes: &mut Flushes,
    ) -> Result<(), JournalError> {
        let index = now.free(flushes.head(&self.run));
        let slot = self.slot(head)?;
        self.file
            .write_all_at(&slot, (index * BLOCK_BYTES) as u64)
            .and_then(|()| flushes.flush(self, head))
            .map_err(|error| fault("write", &self.run, error))
    }

    fn slot(&self, head: &Head) -> Result<Vec<u8>, JournalError> {
        let (run, head) = (self.run.clone(), head.clone());
        Slot { run, head }.seal().ok_or_else(|| {
            let run = &self.run;
            JournalError::Limit(format!("the head of {run} is too long for its anchor"))
        })
    }

    /// Removes the file: the run did not come to be.
    pub(crate) fn remove(&self, folder: &Path) {
        // What stays is clutter, which says that there are no records.
        let _ = std::fs::remove_file(path(folder, &self.run));
    }
}

/// Reads an anchor without holding it; none where there is none.
pub(crate) fn read(folder: &Path, run: &str) -> Result<Option<Anchor>, JournalError> {
    match File::open(path(folder, run)).and_then(|file| contents(&file)) {
        Ok(bytes) => Ok(Some(Anchor::parse(run, &bytes))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("read", run, error)),
    }
}

fn path(folder: &Path, run: &str) -> PathBuf {
    folder.join(run)
}

/// The bytes of the file; fewer where it ends.
fn contents(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; FILE_BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn fault(what: &str, run: &str, error: io::Error) -> JournalError {
    crate::sqlite::fault::io(format!("can't {what} the anchor of {run}"), error)
}
