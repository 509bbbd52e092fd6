//! The journal in memory, for rehearsals: the same rows and the same checks, and it can die, fill up or be damaged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use phasegate_core::event::{Command, Identity, Record};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Head, Inboxed, Journal, JournalError, RunEntry};

use crate::chain::{self, Row};
use crate::limits::{
    MAX_COMMAND_BYTES, MAX_ENTRY_TEXT, MAX_INBOX_PAGE, MAX_OPEN_COMMANDS, MAX_RUNS_LISTED,
    command_within, within,
};
use crate::name;
use crate::unknown;

/// When an engine dies, as seen from an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// Before anything is written.
    Before,
    /// After all is written, before anybody is told.
    After,
}

/// How the next append fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full.
    Full,
    /// The disk fails.
    Broken,
}

/// A journal in memory. A clone is the same process; [`reopen`](Self::reopen) gives another process on the same store.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    store: Arc<Mutex<Store>>,
    process: Arc<Process>,
    seat: String,
}

#[derive(Debug, Default)]
struct Store {
    /// In the order in which they were created.
    runs: Vec<Run>,
    /// Runs that are driven, and by which process.
    driven: BTreeMap<String, u64>,
    processes: u64,
}

#[derive(Debug)]
struct Run {
    entry: RunEntry,
    rows: Vec<Row>,
    anchor: Head,
    inbox: Vec<Asked>,
}

/// A command and what became of it.
type Asked = (Inboxed, Option<Result<(), String>>);

#[derive(Debug)]
struct Process {
    number: u64,
    life: Mutex<Life>,
}

#[derive(Debug, Default)]
struct Life {
    appends: u64,
    dies: Option<(u64, Moment)>,
    fails: Option<Fault>,
    dead: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryJournal {
    /// An empty journal that says it is at this seat.
    #[must_use]
    pub fn new(seat: impl Into<String>) -> Self {
        Self {
            store: Arc::default(),
            process: Arc::new(Process {
                number: 0,
                life: Mutex::default(),
            }),
            seat: seat.into(),
        }
    }

    /// The same store opened by another process, which is alive and at no fault.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let mut store = locked(&self.store);
        store.processes += 1;
        Self {
            store: Arc::clone(&self.store),
            process: Arc::new(Process {
                number: store.processes,
                life: Mutex::default(),
            }),
            seat: self.seat.clone(),
        }
    }

    /// Lets this process die at its append of that number, counted from 1 (creating a run is one).
    /// What it drove is free then, and every call of it fails.
    pub fn die_at(&self, append: u64, moment: Moment) {
        locked(&self.process.life).dies = Some((append, moment));
    }

    /// Lets the next append of this process fail without being written.
    pub fn fail_next(&self, fault: Fault) {
        locked(&self.process.life).fails = Some(fault);
    }

    /// Whether this process died.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        locked(&self.process.life).dead
    }

    /// How often this process has appended; how many places there are to die at.
    #[must_use]
    pub fn appends(&self) -> u64 {
        locked(&self.process.life).appends
    }

    /// Damages the rows of a run, as a fault of the disk would; false where there is no such run.
    pub fn damage(&self, run: &str, damage: impl FnOnce(&mut Vec<Row>)) -> bool {
        let mut store = locked(&self.store);
        match store.find(run) {
            Ok(run) => {
                damage(&mut run.rows);
                true
            }
            Err(_) => false,
        }
    }

    fn store(&self) -> Result<MutexGuard<'_, Store>, JournalError> {
        if self.is_dead() {
            return Err(dead());
        }
        Ok(locked(&self.store))
    }

    /// An append: where it fails or dies is decided here.
    fn write<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut store = self.store()?;
        let mut life = locked(&self.process.life);
        match life.fails.take() {
            Some(Fault::Full) => {
                return Err(JournalError::Full("no space left on the device".into()));
            }
            Some(Fault::Broken) => {
                return Err(JournalError::Storage(
                    "the disk did not write".to_owned(),
                    None,
                ));
            }
            None => {}
        }
        life.appends += 1;
        let dies = match life.dies {
            Some((append, moment)) if append == life.appends => Some(moment),
            _ => None,
        };
        let mut die = |store: &mut Store| {
            life.dead = true;
            store.driven.retain(|_, by| *by != self.process.number);
            Err(dead())
        };
        if dies == Some(Moment::Before) {
            return die(&mut store);
        }
        let done = work(&mut store);
        if dies == Some(Moment::After) {
            return die(&mut store);
        }
        done
    }
}

fn dead() -> JournalError {
    JournalError::Storage("this engine is dead".to_owned(), None)
}

impl Store {
    fn find(&mut self, run: &str) -> Result<&mut Run, JournalError> {
        name::check(run)?;
        self.runs
            .iter_mut()
            .find(|found| found.entry.run == run)
            .ok_or_else(|| JournalError::NotFound(run.to_owned()))
    }

    fn create(&mut self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        name::check(&entry.run)?;
        within("a release's name", entry.release.len(), MAX_ENTRY_TEXT)?;
        within("a target", entry.target.len(), MAX_ENTRY_TEXT)?;
        chain::in_time(entry.created)?;
        if self.runs.iter().any(|run| run.entry.run == entry.run) {
            return Err(JournalError::Storage(
                format!("run {} is there already", entry.run),
                None,
            ));
        }
        let genesis = chain::genesis(entry);
        let rows = chain::seal(&genesis, std::slice::from_ref(first))?;
        let head = rows.last().map_or(genesis, Row::head);
        self.runs.push(Run {
            entry: entry.clone(),
            rows,
            anchor: head.clone(),
            inbox: Vec::new(),
        });
        Ok(head)
    }
}

impl Run {
    fn append(&mut self, after: &Head, records: &[Record]) -> Result<Head, JournalError> {
        let rows = chain::seal(after, records)?;
        let name = &self.entry.run;
        let end = self
            .rows
            .last()
            .map_or_else(|| chain::genesis(&self.entry), Row::head);
        if self.anchor.seq > end.seq {
            return Err(JournalError::Cut {
                run: name.clone(),
                expected: self.anchor.seq,
                found: end.seq,
            });
        }
        if let Some(fault) = chain::mismatch(name, after, &end) {
            return Err(fault);
        }
        self.rows.extend(rows);
        self.anchor = self.rows.last().map_or(end, Row::head);
        Ok(self.anchor.clone())
    }

    fn command(&mut self, id: u64) -> Result<&mut Asked, JournalError> {
        let run = &self.entry.run;
        self.inbox
            .iter_mut()
            .find(|(command, _)| command.id == id)
            .ok_or_else(|| unknown(run, id))
    }
}

/// Held while a run is driven.
struct Drive {
    store: Arc<Mutex<Store>>,
    run: String,
    process: u64,
}

impl Drop for Drive {
    fn drop(&mut self) {
        let mut store = locked(&self.store);
        // After a death the run may be another's already.
        if store.driven.get(&self.run) == Some(&self.process) {
            store.driven.remove(&self.run);
        }
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn create(&self, entry: &RunEntry, first: &Record) -> Result<Head, JournalError> {
        self.write(|store| store.create(entry, first))
    }

    async fn append(
        &self,
        run: &str,
        after: &Head,
        records: &[Record],
    ) -> Result<Head, JournalError> {
        self.write(|store| store.find(run)?.append(after, records))
    }

    async fn read(&self, run: &str) -> Result<(Vec<Record>, Head), JournalError> {
        let mut store = self.store()?;
        let found = store.find(run)?;
        let genesis = chain::genesis(&found.entry);
        let anchor = std::slice::from_ref(&found.anchor);
        chain::verify(run, &genesis, found.rows.iter().cloned(), anchor)
    }

    async fn runs(&self, limit: usize) -> Result<Vec<RunEntry>, JournalError> {
        let store = self.store()?;
        let newest = store.runs.iter().rev().take(limit.min(MAX_RUNS_LISTED));
        Ok(newest
            .map(|run| RunEntry {
                records: run.rows.len() as u64,
                ..run.entry.clone()
            })
            .collect())
    }

    async fn drive(&self, run: &str) -> Result<Box<dyn Send + Sync>, JournalError> {
        name::check(run)?;
        let mut store = self.store()?;
        if store.driven.contains_key(run) {
            return Err(JournalError::InUse(run.to_owned()));
        }
        store.driven.insert(run.to_owned(), self.process.number);
        Ok(Box::new(Drive {
            store: Arc::clone(&self.store),
            run: run.to_owned(),
            process: self.process.number,
        }))
    }

    async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        command_within(by, command)?;
        let mut store = self.store()?;
        let found = store.find(run)?;
        let open = found.inbox.iter().filter(|(_, answer)| answer.is_none());
        let open = open.count();
        if open >= MAX_OPEN_COMMANDS {
            return Err(JournalError::Limit(format!(
                "{open} commands wait for an answer of {run}, at most {MAX_OPEN_COMMANDS} may"
            )));
        }
        let id = found.inbox.len() as u64 + 1;
        let command = Inboxed {
            id,
            at,
            by: by.clone(),
            command: command.clone(),
        };
        found.inbox.push((command, None));
        Ok(id)
    }

    async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        let mut store = self.store()?;
        let commands = store.find(run)?.inbox.iter().map(|(command, _)| command);
        let later = commands.filter(|command| command.id > after);
        Ok(later.take(MAX_INBOX_PAGE).cloned().collect())
    }

    async fn answer(&self, run: &str, id: u64, refused: Option<&str>) -> Result<(), JournalError> {
        within("a refusal", refused.map_or(0, str::len), MAX_COMMAND_BYTES)?;
        let mut store = self.store()?;
        let (_, answer) = store.find(run)?.command(id)?;
        answer.get_or_insert_with(|| refused.map_or(Ok(()), |why| Err(why.to_owned())));
        Ok(())
    }

    async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        let mut store = self.store()?;
        Ok(store.find(run)?.command(id)?.1.clone())
    }

    fn seat(&self) -> String {
        self.seat.clone()
    }
}

#[cfg(test)]
mod tests {
    use phasegate_core::event::Event;

    use super::*;

    fn record(at: u64) -> Record {
        Record {
            at: Timestamp::from_millis(at),
            event: Event::Woke,
        }
    }

    async fn start(journal: &MemoryJournal) -> Head {
        let entry = RunEntry {
            run: "a".to_owned(),
            release: String::new(),
            target: String::new(),
            created: Timestamp::ZERO,
            records: 0,
        };
        journal.create(&entry, &record(1)).await.unwrap()
    }

    #[tokio::test]
    async fn an_engine_dies_before_or_after_an_append_and_another_goes_on() {
        for (moment, kept) in [(Moment::Before, 1), (Moment::After, 2)] {
            let journal = MemoryJournal::new("here");
            journal.die_at(2, moment);
            let head = start(&journal).await;
            let guard = journal.drive("a").await.unwrap();
            assert!(journal.append("a", &head, &[record(2)]).await.is_err());
            assert!(journal.is_dead());
            assert!(journal.clone().read("a").await.is_err());
            let next = journal.reopen();
            let other_guard = next.drive("a").await.unwrap();
            // What is left of the dead engine takes nothing from the living one.
            drop(guard);
            assert!(next.drive("a").await.is_err());
            let (records, head) = next.read("a").await.unwrap();
            assert_eq!(records.len(), kept);
            next.append("a", &head, &[record(3)]).await.unwrap();
            assert_eq!(next.appends(), 1);
            drop(other_guard);
        }
    }

    #[tokio::test]
    async fn a_full_disk_keeps_what_was_written() {
        let journal = MemoryJournal::new("here");
        let head = start(&journal).await;
        journal.fail_next(Fault::Full);
        let full = journal.append("a", &head, &[record(2)]).await;
        assert!(matches!(full, Err(JournalError::Full(_))), "{full:?}");
        let head = journal.append("a", &head, &[record(2)]).await.unwrap();
        assert_eq!(journal.read("a").await.unwrap().1, head);
    }
}
