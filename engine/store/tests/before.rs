//! State directories of the engine before: tables of version 1, anchors with one mark at the end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the functions that tests call are tests too"
)]
#![expect(clippy::disallowed_methods, reason = "tests write files as they are")]

use std::fs;
use std::path::PathBuf;

use phasegate_core::event::{Event, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal, JournalError, RunEntry};
use phasegate_store::SqliteJournal;
use phasegate_store::anchor::{Anchor, BLOCK_BYTES, FILE_BYTES, FILE_BYTES_BEFORE, MARK_BYTES};
use phasegate_store::sqlite::SCHEMA;
use rusqlite::Connection;
use serde_json::Value;
use sha2::{Digest, Sha256};

const RUN: &str = "shop-1.4.2";
/// What stands before the JSON of a slot or mark: checksum, length, newline.
const LABEL_BYTES: usize = 74;
/// The table of records as version 1 had it.
const RECORDS_1: &str = "
ALTER TABLE records RENAME TO now;
CREATE TABLE records (
    run INTEGER NOT NULL REFERENCES runs (number),
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT;
INSERT INTO records SELECT run, seq, at, format, bytes, hash FROM now;
DROP TABLE now;
PRAGMA user_version = 1;
";

struct State(tempfile::TempDir);

impl State {
    fn database(&self) -> Connection {
        Connection::open(self.0.path().join("journal.db")).unwrap()
    }
    fn anchor(&self) -> PathBuf {
        self.0.path().join("anchors").join(RUN)
    }
    fn open(&self) -> SqliteJournal {
        SqliteJournal::open(self.0.path()).unwrap()
    }
    fn version(&self) -> u32 {
        self.database()
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    }

    /// A state directory with two runs as the engine before left it, and where one of them ends.
    async fn before(records: u64) -> (Self, Head) {
        let state = Self(tempfile::tempdir().unwrap());
        let journal = state.open();
        journal.create(&entry("other"), &record(1)).await.unwrap();
        let mut head = journal.create(&entry(RUN), &record(1)).await.unwrap();
        for n in 2..=records {
            head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
        }
        drop(journal);
        state.database().execute_batch(RECORDS_1).unwrap();
        for run in [RUN, "other"] {
            let path = state.anchor().with_file_name(run);
            let now = fs::read(&path).unwrap();
            fs::write(&path, rearranged(&now)).unwrap();
        }
        (state, head)
    }
}

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
        event: Event::Woke,
    }
}

fn records(count: u64) -> Vec<Record> {
    (1..=count).map(record).collect()
}

/// The JSON of a slot or mark, if there is one.
fn content(bytes: &[u8]) -> Option<Value> {
    let label = std::str::from_utf8(&bytes[..LABEL_BYTES]).ok()?;
    let length: usize = label.trim_end().split_once(' ')?.1.parse().ok()?;
    serde_json::from_slice(&bytes[LABEL_BYTES..LABEL_BYTES + length]).ok()
}

fn sealed(json: &str) -> Vec<u8> {
    let check: String = Sha256::digest(json)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{check} {:08}\n{json}\n", json.len()).into_bytes()
}

/// An anchor in the arrangement before: two slots and the later one of the marks.
fn rearranged(now: &[u8]) -> Vec<u8> {
    let mut before = vec![b'\n'; FILE_BYTES_BEFORE];
    let mut put = |at: usize, bytes: &[u8]| before[at..at + bytes.len()].copy_from_slice(bytes);
    let mut settled = Vec::new();
    for block in [0, BLOCK_BYTES] {
        put(block, &now[block + MARK_BYTES..block + BLOCK_BYTES]);
        settled.extend(content(&now[block..]).map(|mark| mark["settled"].clone()));
    }
    let last = settled.iter().max_by_key(|head| head["seq"].as_u64());
    let mark =
        serde_json::json!({"run": content(&now[MARK_BYTES..]).unwrap()["run"], "head": last});
    put(2 * BLOCK_BYTES, &sealed(&mark.to_string()));
    before
}

#[tokio::test]
async fn a_run_of_the_engine_before_is_read_and_gone_on_with() {
    let (state, head) = State::before(5).await;
    assert_eq!(fs::read(state.anchor()).unwrap().len(), FILE_BYTES_BEFORE);
    let journal = state.open();
    assert_eq!(state.version(), SCHEMA);
    assert_eq!(journal.read(RUN).await.unwrap(), (records(5), head.clone()));
    let counted: Vec<u64> = journal
        .runs(9)
        .await
        .unwrap()
        .iter()
        .map(|run| run.records)
        .collect();
    assert_eq!(counted, [5, 1]);
    let mut head = head;
    for n in 6..=9 {
        head = journal.append(RUN, &head, &[record(n)]).await.unwrap();
    }
    drop(journal);
    let report = state.open().verify(RUN).await.unwrap();
    assert_eq!((report.records, &report.anchored), (9, &head));
    // An anchor stays as it was arranged.
    let anchor = fs::read(state.anchor()).unwrap();
    assert_eq!(anchor.len(), FILE_BYTES_BEFORE);
    assert!(Anchor::parse(RUN, &anchor).is_settled_at(&head));
    // A new run's is arranged anew.
    state
        .open()
        .create(&entry("new"), &record(1))
        .await
        .unwrap();
    let new = fs::read(state.anchor().with_file_name("new")).unwrap();
    assert_eq!(new.len(), FILE_BYTES);
}

#[tokio::test]
async fn what_is_noticed_of_a_journal_is_noticed_of_one_of_the_engine_before() {
    let (state, _) = State::before(5).await;
    state
        .database()
        .execute("DELETE FROM records WHERE seq = 5", [])
        .unwrap();
    let read = state.open().read(RUN).await;
    assert!(
        matches!(
            read,
            Err(JournalError::Cut {
                expected: 5,
                found: 4,
                ..
            })
        ),
        "{read:?}"
    );
    // Without the mark it is a crash between the slot and the commit.
    let mut anchor = fs::read(state.anchor()).unwrap();
    anchor.truncate(2 * BLOCK_BYTES);
    fs::write(state.anchor(), anchor).unwrap();
    let journal = state.open();
    assert_eq!(journal.verify(RUN).await.unwrap().restored, 1);
    let (read, head) = journal.read(RUN).await.unwrap();
    assert_eq!(read, records(5));
    let head = journal.append(RUN, &head, &[record(6)]).await.unwrap();
    assert_eq!(state.open().read(RUN).await.unwrap(), (records(6), head));
}

#[tokio::test]
async fn tables_that_hold_what_cant_be_moved_are_left_alone() {
    for damage in [
        "UPDATE records SET seq = 0 WHERE seq = 2",
        "UPDATE records SET seq = 1 << 20 WHERE seq = 2",
        "UPDATE records SET seq = -1 WHERE seq = 2",
        "UPDATE records SET run = 77 WHERE seq = 2",
        "UPDATE records SET run = (1 << 62) WHERE seq = 2",
    ] {
        let (state, _) = State::before(3).await;
        let database = state.database();
        database.pragma_update(None, "foreign_keys", "OFF").unwrap();
        database.execute(damage, []).unwrap();
        drop(database);
        let fault = SqliteJournal::open(state.0.path()).unwrap_err();
        assert!(fault.to_string().contains("damaged"), "{damage}: {fault}");
        assert_eq!(state.version(), 1, "{damage}");
        let count: u32 = state
            .database()
            .query_row("SELECT count(*) FROM records", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 4, "{damage}");
    }
}
