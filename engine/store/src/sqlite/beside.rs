//! A thread that writes anchors while another one commits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use phasegate_runtime::ports::JournalError;

use super::fault;
use crate::anchor::{Held, Prepared};

struct Job {
    held: Arc<Held>,
    slot: Arc<Prepared>,
    done: SyncSender<Result<(), JournalError>>,
}

/// The thread. It ends with the journal that it belongs to.
#[derive(Debug)]
pub(super) struct Beside {
    jobs: Option<Sender<Job>>,
}

/// A write that is under way.
pub(super) struct Pending(Receiver<Result<(), JournalError>>);

impl Beside {
    /// Starts the thread. Where the system has none to give, anchors are written after commits.
    pub(super) fn start() -> Self {
        let (jobs, queue) = channel::<Job>();
        let started = thread::Builder::new()
            .name("journal anchor".to_owned())
            .spawn(move || {
                for Job { held, slot, done } in queue {
                    let written = held.write(&slot);
                    // The lock goes before the answer: else the next append could still meet it.
                    drop(held);
                    // Whoever asked may have been broken off.
                    let _ = done.send(written);
                }
            });
        Self {
            jobs: started.is_ok().then_some(jobs),
        }
    }

    /// Begins to write the slot; none where there is no thread to do it.
    pub(super) fn write(&self, held: &Arc<Held>, slot: &Arc<Prepared>) -> Option<Pending> {
        let (done, result) = sync_channel(1);
        let job = Job {
            held: Arc::clone(held),
            slot: Arc::clone(slot),
            done,
        };
        self.jobs.as_ref()?.send(job).ok()?;
        Some(Pending(result))
    }
}

impl Pending {
    /// Waits until the slot is on disk.
    pub(super) fn wait(self) -> Result<(), JournalError> {
        self.0
            .recv()
            .unwrap_or_else(|_| Err(fault::plain("writing the anchor was broken off")))
    }
}
