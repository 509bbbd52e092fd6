//! What only the journal on disk must do: crashes between its two writes, damaged files, rights.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the functions that tests call are tests too"
)]
#![expect(clippy::disallowed_methods, reason = "tests damage files as they are")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal, JournalError, RunEntry};
use phasegate_store::SqliteJournal;
use phasegate_store::anchor::{Anchor, BLOCK_BYTES, FILE_BYTES, FLUSH_EVERY, SLOT_BYTES};
use phasegate_store::sqlite::SCHEMA;
use rusqlite::Connection;

const RUN: &str = "shop-1.4.2";

struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn folder(&self) -> PathBuf {
        self.0.path().join("state")
    }
    fn database(&self) -> PathBuf {
        self.folder().join("journal.db")
    }
    fn anchor(&self) -> PathBuf {
        self.folder().join("anchors").join(RUN)
    }
    fn open(&self) -> SqliteJournal {
        SqliteJournal::open(self.folder()).unwrap()
    }
    fn sql(&self, text: &str) {
        Connection::open(self.database())
            .unwrap()
            .execute_batch(text)
            .unwrap();
    }
    async fn run_of(&self, count: u64) -> Head {
        let journal = self.open();
        let entry = RunEntry {
            run: RUN.to_owned(),
            release: "shop".to_owned(),
            target: "prod/shop".to_owned(),
            created: Timestamp::from_millis(1),
            records: 0,
        };
        let mut head = journal.create(&entry, &record(1)).await.unwrap();
        for n in 2..=count {
            head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
        }
        head
    }
}

fn record(at: u64) -> Record {
    Record {
        at: Timestamp::from_millis(at),
        event: Event::Woke,
    }
}

fn records(count: u64) -> Vec<Record> {
    (1..=count).map(record).collect()
}

/// Copies the files of the state directory, as a crash at this moment would leave them.
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

/// The anchor as it was `appends` ago, with the database as it is now, and the other way round.
async fn apart() -> (State, Vec<u8>, State, Vec<u8>) {
    let (whole, earlier) = (State::new(), State::new());
    let head = whole.run_of(5).await;
    copy(&whole.folder(), &earlier.folder());
    let before = fs::read(whole.anchor()).unwrap();
    whole.open().append(RUN, &head, &[record(6)]).await.unwrap();
    let after = fs::read(whole.anchor()).unwrap();
    (whole, before, earlier, after)
}

/// Lets flushes of anchors be far enough apart, so that the next append flushes.
async fn flushed() {
    tokio::time::sleep(FLUSH_EVERY + Duration::from_millis(1)).await;
}

#[tokio::test]
async fn an_anchor_that_is_behind_by_a_crash_is_brought_forward() {
    let (state, before, ..) = apart().await;
    fs::write(state.anchor(), before).unwrap();
    let journal = state.open();
    let report = journal.verify(RUN).await.unwrap();
    assert_eq!((report.records, report.anchored.seq), (6, 5));
    let (_, head) = journal.read(RUN).await.unwrap();
    let head = journal.append(RUN, &head, &[record(7)]).await.unwrap();
    let report = journal.verify(RUN).await.unwrap();
    assert_eq!(
        (report.records, &report.anchored, &report.head),
        (7, &head, &head)
    );
}

/// The power goes while a slot is written: of its bytes only the first came to be.
#[tokio::test]
async fn a_slot_that_was_written_in_part_counts_as_not_written() {
    let (state, before, _, after) = apart().await;
    let slot = if before[..SLOT_BYTES] == after[..SLOT_BYTES] {
        BLOCK_BYTES
    } else {
        0
    };
    for length in [1, 70, 100, 200] {
        let mut torn = before.clone();
        torn[slot..slot + length].copy_from_slice(&after[slot..slot + length]);
        fs::write(state.anchor(), torn).unwrap();
        let read = state.open().read(RUN).await.unwrap();
        assert_eq!(read.0, records(6), "{length}");
    }
    let journal = state.open();
    let (_, head) = journal.read(RUN).await.unwrap();
    journal.append(RUN, &head, &[record(7)]).await.unwrap();
    assert_eq!(journal.read(RUN).await.unwrap().0, records(7));
}

/// A head that is known to be on disk is never written over by one that may get torn: in a burst of
/// appends the one slot is written again and again, and the other one after a flush.
#[tokio::test]
async fn what_is_on_disk_of_an_anchor_is_not_written_over_before_something_newer_is() {
    let state = State::new();
    let mut head = state.run_of(3).await;
    let journal = state.open();
    let slots = || {
        let bytes = fs::read(state.anchor()).unwrap();
        [0, BLOCK_BYTES].map(|start| bytes[start..start + SLOT_BYTES].to_vec())
    };
    // The first append of a process flushes.
    head = journal.append(RUN, &head, &[record(4)]).await.unwrap();
    for n in 5..=60 {
        let (before, flushed) = (slots(), head.clone());
        head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
        let after = slots();
        let kept: Vec<usize> = (0..2).filter(|i| before[*i] == after[*i]).collect();
        assert_eq!(kept.len(), 1, "{n}");
        let kept = String::from_utf8_lossy(&after[kept[0]]).into_owned();
        assert!(
            n > 5 || kept.contains(&flushed.hash),
            "the flushed head was written over"
        );
    }
    flushed_twice(&journal, &mut head, slots).await;
}

async fn flushed_twice(journal: &SqliteJournal, head: &mut Head, slots: impl Fn() -> [Vec<u8>; 2]) {
    let mut changed = Vec::new();
    for n in [61, 62, 63] {
        flushed().await;
        let before = slots();
        *head = journal.append(RUN, head, &[record(n)]).await.unwrap();
        let after = slots();
        changed.extend((0..2).filter(|i| before[*i] != after[*i]));
    }
    assert_eq!(changed.len(), 3);
    assert_eq!(changed[1], 1 - changed[2], "each was flushed");
}

#[tokio::test]
async fn the_same_database_is_a_cut_once_the_append_had_returned() {
    let (_, _, state, after) = apart().await;
    fs::write(state.anchor(), after).unwrap();
    let read = state.open().read(RUN).await;
    assert!(
        matches!(
            read,
            Err(JournalError::Cut {
                expected: 6,
                found: 5,
                ..
            })
        ),
        "{read:?}"
    );
}

/// The anchor of a run that was just created, as it was before its first record.
fn begun(anchor: &[u8]) -> Vec<u8> {
    let mut begun = anchor.to_vec();
    begun[BLOCK_BYTES..].fill(b'\n');
    begun
}

#[tokio::test]
async fn a_run_that_died_while_it_was_created_is_not_there_and_can_be_created() {
    let (state, whole) = (State::new(), State::new());
    drop(state.open());
    whole.run_of(1).await;
    // The anchor was made, or was cleared and says that there are no records yet.
    for anchor in [
        Vec::new(),
        vec![b'\n'; FILE_BYTES],
        begun(&fs::read(whole.anchor()).unwrap()),
    ] {
        fs::write(state.anchor(), anchor).unwrap();
        let read = state.open().read(RUN).await;
        assert!(matches!(read, Err(JournalError::NotFound(_))), "{read:?}");
    }
    let head = state.run_of(3).await;
    assert_eq!(state.open().read(RUN).await.unwrap(), (records(3), head));
}

#[tokio::test]
async fn a_run_that_died_right_after_its_creation_is_whole() {
    let state = State::new();
    let head = state.run_of(1).await;
    let anchor = begun(&fs::read(state.anchor()).unwrap());
    fs::write(state.anchor(), anchor).unwrap();
    let journal = state.open();
    assert_eq!(journal.read(RUN).await.unwrap(), (records(1), head.clone()));
    journal.append(RUN, &head, &[record(2)]).await.unwrap();
    assert_eq!(journal.read(RUN).await.unwrap().0, records(2));
}

#[tokio::test]
async fn a_damaged_block_of_the_anchor_is_made_up_for_and_a_damaged_anchor_is_noticed() {
    let state = State::new();
    let head = state.run_of(4).await;
    let whole = fs::read(state.anchor()).unwrap();
    for start in [0, BLOCK_BYTES] {
        let mut damaged = whole.clone();
        damaged[start + 80] ^= 1;
        fs::write(state.anchor(), damaged).unwrap();
        assert_eq!(state.open().read(RUN).await.unwrap().1, head);
    }
    for anchor in [Vec::new(), vec![0; FILE_BYTES], whole[..40].to_vec()] {
        fs::write(state.anchor(), anchor).unwrap();
        let journal = state.open();
        for fault in [
            journal.read(RUN).await.err(),
            journal.append(RUN, &head, &[record(5)]).await.err(),
        ] {
            assert!(
                matches!(fault, Some(JournalError::Altered { .. })),
                "{fault:?}"
            );
        }
    }
    fs::remove_file(state.anchor()).unwrap();
    let fault = state.open().read(RUN).await.unwrap_err();
    assert!(fault.to_string().contains("anchor is missing"), "{fault}");
}

#[tokio::test]
async fn a_database_that_was_lost_or_replaced_is_noticed() {
    let state = State::new();
    let head = state.run_of(3).await;
    assert_eq!(SqliteJournal::gone(&state.folder()).unwrap(), [""; 0]);
    fs::remove_file(state.database()).unwrap();
    assert_eq!(SqliteJournal::gone(&state.folder()).unwrap(), [RUN]);
    fs::write(state.database(), "").unwrap();
    assert_eq!(SqliteJournal::gone(&state.folder()).unwrap(), [RUN]);
    let journal = state.open();
    assert_eq!(journal.lost().await.unwrap(), [RUN]);
    let read = journal.read(RUN).await;
    assert!(
        matches!(
            read,
            Err(JournalError::Cut {
                expected: 3,
                found: 0,
                ..
            })
        ),
        "{read:?}"
    );
    let entry = RunEntry {
        run: RUN.to_owned(),
        release: "other".to_owned(),
        target: String::new(),
        created: Timestamp::ZERO,
        records: 0,
    };
    let again = journal.create(&entry, &record(1)).await;
    assert!(matches!(again, Err(JournalError::Cut { .. })), "{again:?}");
    assert_eq!(
        Anchor::parse(RUN, &fs::read(state.anchor()).unwrap()).head(),
        Some(&head)
    );
}

#[tokio::test]
async fn a_log_that_was_lost_is_noticed() {
    let (state, torn) = (State::new(), State::new());
    let head = state.run_of(2).await;
    let journal = state.open();
    journal.append(RUN, &head, &[record(3)]).await.unwrap();
    // The journal is open: its last records are in SQLite's log alone.
    copy(&state.folder(), &torn.folder());
    fs::remove_file(torn.folder().join("journal.db-wal")).unwrap();
    let read = torn.open().read(RUN).await;
    assert!(
        matches!(
            read,
            Err(JournalError::Cut {
                expected: 3,
                found: 2,
                ..
            })
        ),
        "{read:?}"
    );
}

#[tokio::test]
async fn altered_columns_of_runs_are_noticed() {
    for change in [
        "UPDATE runs SET release = 'shoq'",
        "UPDATE runs SET target = 'prod/shoq'",
        "UPDATE runs SET created = 2",
        "UPDATE runs SET id = 'shop-1.4.3'",
        "UPDATE runs SET number = 2; UPDATE records SET key = key + (1 << 20) WHERE seq > 1",
        "UPDATE records SET bytes = CAST(zeroblob(5000000) AS BLOB) WHERE seq = 2",
        "UPDATE records SET format = -1 WHERE seq = 2",
        "UPDATE records SET at = -1 WHERE seq = 2",
    ] {
        let state = State::new();
        state.run_of(2).await;
        state.sql(&format!("PRAGMA foreign_keys = OFF; {change}"));
        let read = state.open().read(RUN).await;
        assert!(
            matches!(
                read,
                Err(JournalError::Altered { .. } | JournalError::Cut { .. })
            ),
            "{change}: {read:?}"
        );
    }
}

#[tokio::test]
async fn tables_of_a_newer_engine_are_refused_and_left_alone() {
    let state = State::new();
    state.run_of(1).await;
    state.sql("PRAGMA user_version = 7");
    let before = fs::read(state.database()).unwrap();
    let opened = SqliteJournal::open(state.folder());
    assert!(
        matches!(
            opened,
            Err(JournalError::Newer {
                found: 7,
                supported: SCHEMA
            })
        ),
        "{opened:?}"
    );
    assert_eq!(fs::read(state.database()).unwrap(), before);
}

#[tokio::test]
async fn tables_from_before_the_first_release_are_refused_and_left_alone() {
    let state = State::new();
    state.run_of(1).await;
    state.sql("PRAGMA user_version = 2");
    let before = fs::read(state.database()).unwrap();
    let fault = SqliteJournal::open(state.folder()).unwrap_err();
    assert!(fault.to_string().contains("of version 2"), "{fault}");
    assert!(SqliteJournal::look(state.folder()).is_err());
    assert_eq!(fs::read(state.database()).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_refused_with_a_clear_text() {
    let state = State::new();
    state.run_of(40).await;
    let whole = fs::read(state.database()).unwrap();
    let other = State::new();
    drop(other.open());
    other.sql("PRAGMA application_id = 0; PRAGMA user_version = 0; PRAGMA journal_mode = DELETE");
    let mut broken = whole.clone();
    broken[4096..].fill(0x5a);
    let cases = [
        (b"not a database, but long enough to be looked at as one, which takes a hundred bytes or so, and some more".repeat(50), "not a database"),
        (fs::read(other.database()).unwrap(), "something else"),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (broken, "damaged"),
    ];
    for (content, text) in cases {
        fs::write(state.database(), &content).unwrap();
        let fault = match SqliteJournal::open(state.folder()) {
            Err(fault) => fault,
            Ok(journal) => journal.read(RUN).await.unwrap_err(),
        };
        assert!(matches!(fault, JournalError::Storage(..)), "{fault:?}");
        assert!(fault.to_string().contains(text), "{fault} lacks {text}");
    }
}

/// What is put into a directory that was shared on purpose can be used by whoever shares it.
#[tokio::test]
async fn a_state_directory_that_is_shared_stays_so_in_all_that_is_put_into_it() {
    for (shared, folders, files) in [(0o2770, 0o2770, 0o660), (0o777, 0o777, 0o666)] {
        let state = State::new();
        fs::create_dir(state.folder()).unwrap();
        fs::set_permissions(state.folder(), fs::Permissions::from_mode(shared)).unwrap();
        state.run_of(2).await;
        let journal = state.open();
        let _guard = journal.drive(RUN).await.unwrap();
        let mode = |name: &str| {
            let about = fs::metadata(state.folder().join(name)).unwrap();
            about.permissions().mode() & 0o7777
        };
        for folder in ["anchors", "locks"] {
            assert_eq!(mode(folder), folders, "{folder}");
        }
        let (lock, anchor) = (format!("locks/{RUN}.lock"), format!("anchors/{RUN}"));
        for file in [
            "journal.db",
            "journal.db-wal",
            "journal.db-shm",
            &anchor,
            &lock,
        ] {
            assert_eq!(mode(file), files, "{file}");
        }
    }
}

#[tokio::test]
async fn only_the_user_may_read_the_state_directory() {
    let state = State::new();
    state.run_of(2).await;
    let journal = state.open();
    let _guard = journal.drive(RUN).await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["", "anchors", "locks"] {
        assert_eq!(mode(state.folder().join(folder)), 0o700, "{folder}");
    }
    let lock = format!("locks/{RUN}.lock");
    let anchor = format!("anchors/{RUN}");
    for file in ["journal.db", "journal.db-wal", &anchor, &lock] {
        assert_eq!(mode(state.folder().join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn a_state_directory_that_is_a_file_is_a_clear_fault() {
    let state = State::new();
    fs::write(state.folder(), "").unwrap();
    let fault = SqliteJournal::open(state.folder()).unwrap_err();
    assert!(
        fault.to_string().contains("can't create the folder"),
        "{fault}"
    );
    assert!(!SqliteJournal::exists(&state.folder()).unwrap());
}

#[tokio::test]
async fn a_copy_of_a_state_directory_is_another_seat() {
    let (state, copied) = (State::new(), State::new());
    let seat = state.open().seat();
    copy(&state.folder(), &copied.folder());
    assert_eq!(state.open().seat(), seat);
    assert_ne!(copied.open().seat(), seat);
}

#[tokio::test]
async fn many_processes_may_open_a_new_state_directory_at_once() {
    let state = State::new();
    let seats: Vec<String> = std::thread::scope(|scope| {
        let open: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| state.open().seat()))
            .collect();
        open.into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(seats.iter().all(|seat| *seat == seats[0]), "{seats:?}");
}

#[tokio::test]
async fn large_and_small_appends_may_follow_each_other() {
    let state = State::new();
    let mut head = state.run_of(1).await;
    for n in 2..30_u64 {
        let cause = "x".repeat(if n % 3 == 0 { 40_000 } else { 10 });
        let next = Record {
            at: Timestamp::from_millis(n),
            event: Event::Interrupted { cause },
        };
        head = state.open().append(RUN, &head, &[next]).await.unwrap();
    }
    let report = state.open().verify(RUN).await.unwrap();
    assert_eq!((report.records, &report.anchored), (29, &head));
    let size = fs::metadata(state.anchor()).unwrap().len();
    assert!(size <= FILE_BYTES as u64);
}
