//! What every journal must do. Each function of `contract/rules.rs` runs against each implementation.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the functions that tests call are tests too"
)]

use std::sync::Arc;

use phasegate_core::event::{Command, Event, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Journal};
use phasegate_store::chain::Row;
use phasegate_store::segments::MAX_SHEET_BYTES;
use phasegate_store::{MemoryJournal, SegmentJournal, SqliteJournal};
use proptest::prelude::*;

#[path = "support/damage.rs"]
mod damage;
#[path = "contract/inbox.rs"]
mod inbox;
#[path = "contract/rules.rs"]
mod rules;
#[path = "support/shelf.rs"]
mod shelf;

use rules::{Place, RUN, entry};

struct Memory(MemoryJournal);

impl Memory {
    fn new() -> Self {
        Self(MemoryJournal::new("memory"))
    }
}

impl Place for Memory {
    type Opened = MemoryJournal;
    fn open(&self) -> MemoryJournal {
        self.0.reopen()
    }
    async fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>)) {
        assert!(self.0.damage(run, damage));
    }
}

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Place for Sqlite {
    type Opened = SqliteJournal;
    fn open(&self) -> SqliteJournal {
        SqliteJournal::open(self.0.path().join("state")).unwrap()
    }
    async fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>)) {
        let database = rusqlite::Connection::open(self.0.path().join("state/journal.db")).unwrap();
        let number: i64 = database
            .query_row("SELECT number FROM runs WHERE id = ?", [run], |row| {
                row.get(0)
            })
            .unwrap();
        let mut rows: Vec<Row> = database
            .prepare("SELECT seq, at, format, bytes, hash FROM records WHERE run = ? ORDER BY key")
            .unwrap()
            .query_map([number], |row| {
                Ok(Row {
                    seq: row.get::<_, i64>(0)?.cast_unsigned(),
                    at: Timestamp::from_millis(row.get::<_, i64>(1)?.cast_unsigned()),
                    format: row.get(2)?,
                    bytes: row.get(3)?,
                    hash: row.get(4)?,
                })
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        damage(&mut rows);
        database
            .execute("DELETE FROM records WHERE run = ?", [number])
            .unwrap();
        for row in rows {
            database
                .execute(
                    "INSERT INTO records (key, at, format, bytes, hash) VALUES ((? << 20) + ?, ?, ?, ?, ?)",
                    rusqlite::params![
                        number,
                        row.seq.cast_signed(),
                        row.at.as_millis().cast_signed(),
                        row.format,
                        row.bytes,
                        row.hash
                    ],
                )
                .unwrap();
        }
    }
}

struct Shelf(Arc<shelf::Fake>);

impl Shelf {
    fn new() -> Self {
        Self(Arc::default())
    }
}

impl Place for Shelf {
    type Opened = SegmentJournal;
    fn open(&self) -> SegmentJournal {
        shelf::open(&self.0)
    }
    async fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>)) {
        damage::damage(&*self.0, run, damage).await;
    }
    fn most(&self) -> usize {
        MAX_SHEET_BYTES
    }
}

mod memory {
    crate::contract!(super::Memory::new());
}

mod sqlite {
    crate::contract!(super::Sqlite::new());
}

mod segments {
    crate::contract!(super::Shelf::new());
}

fn records() -> impl Strategy<Value = Record> {
    let event = prop_oneof![
        Just(Event::Woke),
        ".{0,40}".prop_map(|cause| Event::Interrupted { cause }),
        (".{0,20}", any::<u64>()).prop_map(|(engine, epoch)| Event::Driving { engine, epoch }),
        (
            ".{0,20}",
            proptest::option::of(".{0,200}"),
            proptest::option::of(any::<u64>())
        )
            .prop_map(|(name, reason, inbox)| Event::Commanded {
                by: Identity {
                    name,
                    verified_by: "x".to_owned()
                },
                command: Command::Abort { reason },
                inbox,
            }),
    ];
    (0..u64::MAX >> 1, event).prop_map(|(at, event)| Record {
        at: Timestamp::from_millis(at),
        event,
    })
}

async fn keep(journal: &impl Journal, first: &Record, batches: &[Vec<Record>]) -> Head {
    let mut head = journal.create(&entry(RUN), first).await.unwrap();
    for batch in batches {
        head = journal.append(RUN, &head, batch).await.unwrap();
    }
    journal.flush(RUN).await.unwrap();
    head
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn all_journals_read_back_any_records_the_same(
        first in records(),
        batches in proptest::collection::vec(proptest::collection::vec(records(), 0..4), 0..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (memory, sqlite, shelf) = (Memory::new(), Sqlite::new(), Shelf::new());
            let memory_head = keep(&memory.open(), &first, &batches).await;
            let sqlite_head = keep(&sqlite.open(), &first, &batches).await;
            assert_eq!(memory_head, sqlite_head);
            assert_eq!(memory_head, keep(&shelf.open(), &first, &batches).await);
            let expected: Vec<Record> =
                std::iter::once(&first).chain(batches.iter().flatten()).cloned().collect();
            let read = [
                memory.open().read(RUN).await,
                sqlite.open().read(RUN).await,
                shelf.open().read(RUN).await,
            ];
            for read in read {
                assert_eq!(read.unwrap(), (expected.clone(), memory_head.clone()));
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_inbox_of_all_journals_is_what_the_model_says(
        acts in proptest::collection::vec(inbox::acts(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            inbox::play(&Memory::new(), &acts).await;
            inbox::play(&Sqlite::new(), &acts).await;
            inbox::play(&Shelf::new(), &acts).await;
        });
    }
}
