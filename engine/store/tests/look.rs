//! A journal that can be read and not written to: on a read-only disk.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions that tests call are tests too"
)]
#![expect(clippy::disallowed_methods, reason = "tests mount disks")]

use std::fs;
use std::path::Path;

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Journal, JournalError, RunEntry};
use phasegate_store::SqliteJournal;

#[path = "support/small_disk.rs"]
mod small_disk;

use small_disk::on_small_disk;

const RUN: &str = "shop-1.4.2";
const OPTIONS: &str = "size=32m,mode=700";

fn record(at: u64) -> Record {
    Record {
        at: Timestamp::from_millis(at),
        event: Event::Interrupted {
            cause: "x".to_owned(),
        },
    }
}

async fn written(state: &Path) -> SqliteJournal {
    let journal = SqliteJournal::open(state).unwrap();
    let entry = RunEntry {
        run: RUN.to_owned(),
        release: "shop".to_owned(),
        target: "prod/shop".to_owned(),
        created: Timestamp::from_millis(1),
        records: 0,
    };
    let head = journal.create(&entry, &record(1)).await.unwrap();
    journal.append(RUN, &head, &[record(2)]).await.unwrap();
    journal
}

/// Copies a state directory as it is while it is open: as a killed engine leaves it.
fn torn(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let into = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            torn(&entry.path(), &into);
        } else {
            fs::copy(entry.path(), into).unwrap();
        }
    }
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(work)
}

#[test]
fn a_journal_on_a_read_only_disk_is_looked_at_and_left_as_it_is() {
    let name = "a_journal_on_a_read_only_disk_is_looked_at_and_left_as_it_is";
    on_small_disk(name, OPTIONS, |disk| {
        // A folder's name may hold what means something in a URI.
        let (closed, killed, half) = (
            disk.path().join("closed?mode=rw#1 %41"),
            disk.path().join("killed"),
            disk.path().join("half"),
        );
        let open = now(written(&disk.path().join("open")));
        torn(&disk.path().join("open"), &killed);
        torn(&killed, &half);
        fs::remove_file(half.join("journal.db-shm")).unwrap();
        drop(open);
        drop(now(written(&closed)));
        disk.only_read();
        for state in [&closed, &killed] {
            let refused = SqliteJournal::open(state);
            assert!(matches!(refused, Err(JournalError::Storage(..))));
            let journal = SqliteJournal::look(state).unwrap();
            let report = now(journal.verify(RUN)).unwrap();
            assert_eq!(report.records, 2, "{}", state.display());
            assert_eq!(now(journal.runs(10)).unwrap().len(), 1);
            assert!(now(journal.lost()).unwrap().is_empty());
            assert!(!journal.driven(RUN).unwrap());
        }
        // Its last records can't be had, and it is not called damaged for that.
        let fault = match SqliteJournal::look(&half) {
            Err(fault) => fault,
            Ok(journal) => now(journal.verify(RUN)).unwrap_err(),
        };
        assert!(fault.to_string().contains("copy the whole"), "{fault}");
    });
}

#[tokio::test]
async fn to_look_makes_nothing_and_tells_who_drives() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    assert!(SqliteJournal::look(&state).is_err());
    assert!(!state.exists());
    let journal = written(&state).await;
    let looking = SqliteJournal::look(&state).unwrap();
    assert_eq!(looking.seat(), journal.seat());
    assert!(!looking.driven(RUN).unwrap());
    let guard = journal.drive(RUN).await.unwrap();
    assert!(looking.driven(RUN).unwrap());
    drop(guard);
    assert!(!looking.driven(RUN).unwrap());
}
