//! A disk that is full, at whatever moment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the functions that tests call are tests too"
)]
#![expect(clippy::disallowed_methods, reason = "tests mount disks")]

use std::fs;
use std::path::Path;

use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal, JournalError, RunEntry};
use phasegate_store::SqliteJournal;

#[path = "support/small_disk.rs"]
mod small_disk;

use small_disk::{SmallDisk, on_small_disk};

const RUN: &str = "shop-1.4.2";
/// As many records as are appended where there is room for all.
const RECORDS: u64 = 40;

fn record(at: u64) -> Record {
    Record {
        at: Timestamp::from_millis(at),
        event: Event::Interrupted {
            cause: "x".repeat(1500),
        },
    }
}

fn records(count: u64) -> Vec<Record> {
    (1..=count).map(record).collect()
}

fn entry() -> RunEntry {
    RunEntry {
        run: RUN.to_owned(),
        release: "shop".to_owned(),
        target: "prod/shop".to_owned(),
        created: Timestamp::from_millis(1),
        records: 0,
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(work)
}

/// Begins a run in a new state directory and goes on until it has all records or meets a fault.
/// Returns how many records the journal took.
async fn go(state: &Path) -> (u64, Result<(), JournalError>) {
    let journal = match SqliteJournal::open(state) {
        Ok(journal) => journal,
        Err(fault) => return (0, Err(fault)),
    };
    let _guard = match journal.drive(RUN).await {
        Ok(guard) => guard,
        Err(fault) => return (0, Err(fault)),
    };
    let mut head = match journal.create(&entry(), &record(1)).await {
        Ok(head) => head,
        Err(fault) => return (0, Err(fault)),
    };
    for n in 2..=RECORDS {
        match journal.append(RUN, &head, &[record(n)]).await {
            Ok(next) => head = next,
            Err(fault) => return (head.seq, Err(fault)),
        }
    }
    (head.seq, Ok(()))
}

/// There is room again: what was taken is there, nothing else is, and the run can go on.
async fn retry(state: &Path, taken: u64) {
    let journal = SqliteJournal::open(state).unwrap();
    assert_eq!(journal.lost().await.unwrap(), [""; 0]);
    let head: Head = if taken == 0 {
        let read = journal.read(RUN).await;
        assert!(matches!(read, Err(JournalError::NotFound(_))), "{read:?}");
        assert!(
            !state.join("anchors").join(RUN).exists(),
            "half a run was left behind"
        );
        journal.create(&entry(), &record(1)).await.unwrap()
    } else {
        let (read, head) = journal.read(RUN).await.unwrap();
        assert_eq!(read, records(taken));
        head
    };
    let next = record(head.seq + 1);
    let head = journal.append(RUN, &head, &[next]).await.unwrap();
    let report = journal.verify(RUN).await.unwrap();
    assert_eq!((&report.head, &report.anchored), (&head, &head));
}

/// Lets the disk fill up at every point on the way. `fill` leaves as much room as the number says.
fn sweep(disk: &SmallDisk, steps: usize, fill: impl Fn(usize)) {
    let mut ends = Vec::new();
    for step in 0..steps {
        let state = disk.path().join(format!("state-{step}"));
        fill(step);
        let (taken, went) = block_on(go(&state));
        match went {
            Ok(()) => {}
            Err(JournalError::Full(_)) => {}
            Err(other) => panic!("with room for {step}, after {taken} records: {other:?}"),
        }
        disk.free();
        block_on(retry(&state, taken));
        fs::remove_dir_all(&state).unwrap();
        ends.push(taken);
    }
    assert_eq!(ends.first(), Some(&0), "it was never full at the beginning");
    assert_eq!(ends.last(), Some(&RECORDS), "it was always full");
}

#[test]
fn wherever_the_disk_is_full_it_is_said_and_nothing_is_lost() {
    let name = "wherever_the_disk_is_full_it_is_said_and_nothing_is_lost";
    on_small_disk(name, "size=6m,mode=700", |disk| {
        sweep(disk, 110, |blocks| disk.fill_but(blocks));
    });
}

#[test]
fn a_disk_that_takes_no_more_files_is_full_too() {
    let name = "a_disk_that_takes_no_more_files_is_full_too";
    on_small_disk(name, "size=6m,nr_inodes=60,mode=700", |disk| {
        sweep(disk, 14, |names| disk.take_names_but(names));
    });
}

#[test]
fn a_command_that_finds_no_room_is_not_taken_and_can_be_given_again() {
    let name = "a_command_that_finds_no_room_is_not_taken_and_can_be_given_again";
    on_small_disk(name, "size=6m,mode=700", |disk| {
        block_on(async {
            let state = disk.path().join("state");
            let (engine, person) = {
                let open = || SqliteJournal::open(&state).unwrap();
                (open(), open())
            };
            engine.create(&entry(), &record(1)).await.unwrap();
            let by = Identity {
                name: "ada".to_owned(),
                verified_by: "os-account:1000".to_owned(),
            };
            let long = Command::HandOver {
                reason: "x".repeat(60_000),
            };
            disk.fill_but(0);
            // Room was made ahead in the log; once that is used up nothing more is taken.
            let mut given = 0;
            let full = loop {
                match person.post(RUN, Timestamp::ZERO, &by, &long).await {
                    Ok(id) => given = id,
                    Err(fault) => break fault,
                }
                assert!(given < 1000, "the disk does not fill up");
            };
            assert!(matches!(full, JournalError::Full(_)), "{full:?}");
            disk.free();
            let id = person.post(RUN, Timestamp::ZERO, &by, &long).await.unwrap();
            assert_eq!(id, given + 1);
            assert_eq!(engine.inbox(RUN, given).await.unwrap().len(), 1);
        });
    });
}
