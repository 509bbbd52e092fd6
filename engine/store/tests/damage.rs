//! Damage that lies anywhere: it is noticed, or it does nothing. And what an append leaves behind
//! that the database refuses.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the functions that tests call are tests too"
)]
#![expect(clippy::disallowed_methods, reason = "tests damage files as they are")]

use std::fs;
use std::path::{Path, PathBuf};

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal, JournalError, RunEntry};
use phasegate_store::SqliteJournal;
use phasegate_store::anchor::{Anchor, FILE_BYTES};
use rusqlite::Connection;

const RUN: &str = "shop-1.4.2";
const OTHER: &str = "shop-1.4.1";

fn entry(run: &str) -> RunEntry {
    RunEntry {
        run: run.to_owned(),
        release: "shop".to_owned(),
        target: "prod/shop".to_owned(),
        created: Timestamp::from_millis(1),
        records: 0,
    }
}

fn record(at: u64) -> Record {
    Record {
        at: Timestamp::from_millis(at),
        event: Event::Interrupted {
            cause: format!("record {at} {}", "x".repeat(300)),
        },
    }
}

fn records(count: u64) -> Vec<Record> {
    (1..=count).map(record).collect()
}

async fn run_of(state: &Path, run: &str, count: u64) -> (SqliteJournal, Head) {
    let journal = SqliteJournal::open(state).unwrap();
    let mut head = journal.create(&entry(run), &record(1)).await.unwrap();
    for n in 2..=count {
        head = journal.append(run, &head, &[record(n)]).await.unwrap();
    }
    (journal, head)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).unwrap();
        }
    }
}

/// A state directory with two runs, of which one is long enough for a tree of pages.
async fn state() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    drop(run_of(&state, OTHER, 3).await);
    drop(run_of(&state, RUN, 40).await);
    (folder, state)
}

/// Reads all that there is: each run is what was written, or there is a fault.
async fn is_noticed_or_does_nothing(state: &Path, what: &str) -> bool {
    let journal = match SqliteJournal::open(state) {
        Ok(journal) => journal,
        Err(fault) => return coded(&fault, what),
    };
    let mut noticed = journal
        .runs(10)
        .await
        .is_err_and(|fault| coded(&fault, what));
    for (run, count) in [(RUN, 40), (OTHER, 3)] {
        match journal.read(run).await {
            Ok((read, _)) => assert!(read == records(count), "{what} went unnoticed in {run}"),
            Err(fault) => noticed |= coded(&fault, what),
        }
    }
    noticed
}

/// It is one of the faults that damage is told by.
fn coded(fault: &JournalError, what: &str) -> bool {
    assert!(
        matches!(
            fault,
            JournalError::Altered { .. }
                | JournalError::Cut { .. }
                | JournalError::Newer { .. }
                | JournalError::Storage(..)
                | JournalError::NotFound(_)
        ),
        "{what}: {fault:?}"
    );
    true
}

/// Flips a bit at every so many bytes of a file, one at a time. Returns how often it was noticed.
async fn flip(state: &Path, file: &str, until: usize, every: usize) -> usize {
    let damaged = tempfile::tempdir().unwrap();
    let mut noticed = 0;
    let whole = fs::read(state.join(file)).unwrap();
    for at in (0..whole.len().min(until)).step_by(every) {
        let place = damaged.path().join(at.to_string());
        copy(state, &place);
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(place.join(file), bytes).unwrap();
        if is_noticed_or_does_nothing(&place, &format!("a bit at {at} of {file}")).await {
            noticed += 1;
        }
        fs::remove_dir_all(&place).unwrap();
    }
    noticed
}

#[tokio::test]
async fn a_flipped_bit_of_the_database_is_noticed_or_does_nothing() {
    let (_folder, state) = state().await;
    assert!(!state.join("journal.db-wal").exists());
    assert!(flip(&state, "journal.db", usize::MAX, 211).await > 50);
}

#[tokio::test]
async fn a_flipped_bit_of_the_log_is_noticed_or_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    drop(run_of(&state, OTHER, 3).await);
    // All records of the run are in the log: the journal is open.
    let _open = run_of(&state, RUN, 40).await;
    let used = 40 << 10;
    assert!(flip(&state, "journal.db-wal", used, 997).await > 20);
}

#[tokio::test]
async fn a_flipped_bit_of_an_anchor_is_noticed_or_does_nothing() {
    let (_folder, state) = state().await;
    flip(&state, &format!("anchors/{RUN}"), FILE_BYTES, 149).await;
}

#[tokio::test]
async fn a_damaged_page_in_the_middle_is_told_and_other_runs_can_be_read() {
    let (_folder, state) = state().await;
    let database = Connection::open(state.join("journal.db")).unwrap();
    let page: u32 = database
        .query_row(
            "SELECT pageno FROM dbstat WHERE name = 'records' AND pagetype = 'leaf' ORDER BY path DESC LIMIT 1 OFFSET 2",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(database);
    let page = usize::try_from(page).unwrap();
    let mut bytes = fs::read(state.join("journal.db")).unwrap();
    bytes[(page - 1) * 4096..page * 4096].fill(0x5a);
    fs::write(state.join("journal.db"), bytes).unwrap();
    let journal = SqliteJournal::open(&state).unwrap();
    let fault = journal.read(RUN).await.unwrap_err();
    assert!(matches!(fault, JournalError::Storage(..)), "{fault:?}");
    assert!(fault.to_string().contains("damaged"), "{fault}");
    assert_eq!(journal.read(OTHER).await.unwrap().0, records(3));
}

#[tokio::test]
async fn an_append_that_the_database_refuses_leaves_the_anchor_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (journal, head) = run_of(&state, RUN, 6).await;
    let database = Connection::open(state.join("journal.db")).unwrap();
    let anchor = || {
        let bytes = fs::read(state.join("anchors").join(RUN)).unwrap();
        Anchor::parse(RUN, &bytes)
    };
    let before = anchor();
    assert_eq!(before.head(), Some(&head));
    database
        .execute("DELETE FROM records WHERE seq = 6", [])
        .unwrap();
    let cut = journal.append(RUN, &head, &[record(7)]).await;
    assert!(
        matches!(
            cut,
            Err(JournalError::Cut {
                expected: 6,
                found: 5,
                ..
            })
        ),
        "{cut:?}"
    );
    assert_eq!(anchor(), before);
    let read = journal.read(RUN).await;
    assert!(matches!(read, Err(JournalError::Cut { .. })), "{read:?}");
}

#[tokio::test]
async fn processes_that_append_in_turns_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (one, mut head) = run_of(&state, RUN, 1).await;
    let other = SqliteJournal::open(&state).unwrap();
    for n in 2..=30_u64 {
        // Now and then one goes on alone, and what the other knows of the anchor grows old.
        let journal = if n % 7 < 4 { &one } else { &other };
        head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
    }
    let report = other.verify(RUN).await.unwrap();
    assert_eq!((&report.head, &report.anchored), (&head, &head));
    assert_eq!(one.read(RUN).await.unwrap().0, records(30));
}

#[tokio::test]
async fn a_cut_of_what_another_process_appended_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (one, head) = run_of(&state, RUN, 5).await;
    let other = SqliteJournal::open(&state).unwrap();
    let next = other.append(RUN, &head, &[record(6)]).await.unwrap();
    other.append(RUN, &next, &[record(7)]).await.unwrap();
    let database = Connection::open(state.join("journal.db")).unwrap();
    database
        .execute("DELETE FROM records WHERE seq > 5", [])
        .unwrap();
    let cut = one.append(RUN, &head, &[record(6)]).await;
    assert!(
        matches!(
            cut,
            Err(JournalError::Cut {
                expected: 7,
                found: 5,
                ..
            })
        ),
        "{cut:?}"
    );
}

#[tokio::test]
async fn two_runs_that_are_appended_to_in_turns_keep_apart() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (journal, mut head) = run_of(&state, RUN, 1).await;
    let mut other = journal.create(&entry(OTHER), &record(1)).await.unwrap();
    for n in 2..=20 {
        head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
        other = journal.append(OTHER, &other, &[record(n)]).await.unwrap();
    }
    drop(journal);
    let journal = SqliteJournal::open(&state).unwrap();
    assert_eq!(journal.read(RUN).await.unwrap(), (records(20), head));
    assert_eq!(journal.read(OTHER).await.unwrap(), (records(20), other));
}

#[tokio::test]
async fn room_in_the_log_is_no_part_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (journal, mut head) = run_of(&state, RUN, 2).await;
    let log = state.join("journal.db-wal");
    let reserved = fs::metadata(&log).unwrap().len();
    assert!(reserved > 1 << 20, "{reserved}");
    // Long enough for the log to begin anew more than once, and it doesn't grow.
    for n in 3..=1500 {
        head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
    }
    assert_eq!(fs::metadata(&log).unwrap().len(), reserved);
    // A crash leaves the room behind.
    let crashed = folder.path().join("crashed");
    copy(&state, &crashed);
    let after = SqliteJournal::open(&crashed).unwrap();
    assert_eq!(
        after.read(RUN).await.unwrap(),
        (records(1500), head.clone())
    );
    let next = after.append(RUN, &head, &[record(1501)]).await.unwrap();
    assert_eq!(after.read(RUN).await.unwrap().1, next);
    drop(journal);
    assert!(!log.exists());
    assert_eq!(
        SqliteJournal::open(&state)
            .unwrap()
            .read(RUN)
            .await
            .unwrap()
            .1,
        head
    );
}

#[tokio::test]
async fn a_state_directory_may_have_any_name() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["file:x?mode=memory", "ä b", "a%20b", "deep/er/and/deeper"] {
        let state = folder.path().join(name);
        drop(run_of(&state, RUN, 2).await);
        let journal = SqliteJournal::open(&state).unwrap();
        assert_eq!(journal.read(RUN).await.unwrap().0, records(2), "{name}");
        assert!(state.join("journal.db").is_file(), "{name}");
    }
}
