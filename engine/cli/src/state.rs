//! The state directory: its journal, and which run a command is about.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes, listed, nearest};
use phasegate_core::event::Event;
use phasegate_core::run::{Illegal, Run};
use phasegate_runtime::ports::{Component, Journal, JournalError, RunEntry};
use phasegate_store::SqliteJournal;
use phasegate_store::rights::Rights;

use crate::book::Book;
use crate::exit::{self, Fault, internal};
use crate::plugins::{self, Kept};
use crate::seat::Seat;

/// How many runs are looked at to find the unfinished ones, newest first.
pub const MAX_RUNS: usize = 500;
/// How many of the newest runs are read whole before another begins: it takes time, and what is older was read before.
const MAX_VERIFIED: usize = 20;
/// How many lost runs are named.
const MAX_NAMED: usize = 10;

/// A state directory that is open, or a seat in a cluster.
#[derive(Clone, Debug)]
pub struct State {
    /// Where it is, as `--state` names it.
    pub folder: PathBuf,
    /// Its journal.
    pub journal: Arc<Book>,
}

impl State {
    /// Opens a state directory, and makes it where it is missing.
    ///
    /// # Errors
    /// Where it can't be used.
    pub async fn open(folder: &Path) -> Result<Self, Fault> {
        if let Some(seat) = Seat::of(folder)? {
            return Ok(Self::of(folder, Book::Cluster(seat.open().await?)));
        }
        Ok(Self::of(folder, Book::Folder(SqliteJournal::open(folder)?)))
    }

    /// Opens what a Job's pod drives a run from.
    ///
    /// # Errors
    /// As [`Self::existing`].
    pub async fn in_pod(folder: &Path) -> Result<Self, Fault> {
        match Seat::of(folder)? {
            Some(seat) => Ok(Self::of(folder, Book::Cluster(seat.open_in_pod().await?))),
            None => Self::existing(folder).await,
        }
    }

    fn of(folder: &Path, journal: Book) -> Self {
        Self {
            folder: folder.to_owned(),
            journal: Arc::new(journal),
        }
    }

    /// Opens a state directory that must be there: a command that looks makes nothing.
    ///
    /// # Errors
    /// Where it isn't there, or can't be used.
    pub async fn existing(folder: &Path) -> Result<Self, Fault> {
        if Seat::of(folder)?.is_some() {
            return Self::open(folder).await;
        }
        if SqliteJournal::exists(folder)? {
            none_gone(folder)?;
            return Self::open(folder).await;
        }
        Err(no_runs(folder).into())
    }

    /// Opens a state directory to look at it, which needs no right to write there.
    ///
    /// # Errors
    /// Where it isn't there, or can't be read.
    pub async fn to_look(folder: &Path) -> Result<Self, Fault> {
        if Seat::of(folder)?.is_some() {
            return Self::open(folder).await;
        }
        if !SqliteJournal::exists(folder)? {
            return Err(no_runs(folder).into());
        }
        none_gone(folder)?;
        match SqliteJournal::open(folder) {
            Ok(journal) => Ok(Self::of(folder, Book::Folder(journal))),
            Err(error) if exit::may_not_write(&error) => {
                let journal = SqliteJournal::look(folder)?;
                Ok(Self::of(folder, Book::Folder(journal)))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A state directory to begin a run in: none whose journal has lost runs, or isn't what the engine
    /// wrote. What a damaged run holds can't be told, and more records would bury what happened to it.
    ///
    /// # Errors
    /// Where it has, or isn't.
    pub async fn to_begin(folder: &Path) -> Result<(), Fault> {
        if Seat::of(folder)?.is_none() {
            if !SqliteJournal::exists(folder)? {
                return Ok(());
            }
            none_gone(folder)?;
        }
        let state = Self::open(folder).await?;
        if let Some(lost) = state.lost().await? {
            return Err(lost.into());
        }
        let mut faults = Diagnostics::new();
        for entry in state.runs().await?.iter().take(MAX_VERIFIED) {
            if let Err(error) = state.journal.verify(&entry.run).await {
                faults.push(damage(&error, &entry.run));
            }
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(faults.into())
    }

    /// That runs are anchored and not in the journal, where that is so.
    ///
    /// # Errors
    /// Where the anchors can't be read.
    pub async fn lost(&self) -> Result<Option<Diagnostic>, Fault> {
        let lost = self.journal.lost().await?;
        Ok((!lost.is_empty()).then(|| self.missing(&lost)))
    }

    /// That these runs are known to have been there and that the journal doesn't have them.
    pub(crate) fn missing(&self, runs: &[String]) -> Diagnostic {
        match self.is_away() {
            true => missing_away(runs),
            false => missing(runs),
        }
    }

    /// Keeps what else a run needs, before it begins.
    ///
    /// # Errors
    /// Where it can't be written, or a plugin can't be had wherever a run of a cluster's journal is resumed.
    pub async fn keep(
        &self,
        run: &str,
        components: &[Component],
        kept: &Kept,
    ) -> Result<(), Fault> {
        match &*self.journal {
            Book::Folder(_) => Ok(plugins::keep(&self.folder, run, components, kept)?),
            Book::Cluster(journal) => {
                plugins::all_ship(components)?;
                let text = serde_json::to_string(kept).map_err(|e| {
                    internal("what a run needs can't be written as JSON").caused_by(&e)
                })?;
                Ok(journal.keep(run, &text)?)
            }
        }
    }

    /// What was kept for a run.
    ///
    /// # Errors
    /// Where it is there and makes no sense.
    pub async fn kept(&self, run: &str) -> Result<Kept, Fault> {
        match &*self.journal {
            Book::Folder(_) => Ok(plugins::kept(&self.folder, run)?),
            Book::Cluster(journal) => match journal.kept(run).await? {
                Some(text) => serde_json::from_str(&text).map_err(|e| {
                    let what = format!("what is kept for {run} makes no sense");
                    Diagnostic::new(codes::JOURNAL_UNREADABLE, what)
                        .caused_by(&e)
                        .into()
                }),
                None => Err(Diagnostic::new(
                    codes::JOURNAL_TAIL_CUT,
                    format!("what was kept for {run} is gone from the cluster"),
                )
                .expected(format!("it in the run's first object, or in the ConfigMap `phasegate-kept-{run}` of an older engine"))
                .hint("without it nobody knows which credentials and grants the run has; put it back, or hand the target over with `phasegate lock break`")
                .into()),
            },
        }
    }

    /// Whether the journal is in a cluster: there is no directory then.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(&*self.journal, Book::Cluster(_))
    }

    /// The runs, newest first.
    ///
    /// # Errors
    /// Where the journal can't be read.
    pub async fn runs(&self) -> Result<Vec<RunEntry>, Fault> {
        Ok(self.journal.runs(MAX_RUNS).await?)
    }

    /// A run as its journal says.
    ///
    /// # Errors
    /// Where the journal can't be read, or is not what this engine would have written.
    pub async fn replay(&self, run: &str) -> Result<Run, Fault> {
        let (records, _) = self.journal.read(run).await?;
        Run::replay(run, &records).map_err(|illegal| senseless(run, &illegal).into())
    }

    /// The runs that can be read, newest first, and what is wrong with the others.
    ///
    /// # Errors
    /// Where none can be.
    pub async fn whole(&self) -> Result<(Vec<Run>, Diagnostics), Fault> {
        let (mut runs, mut faults) = (Vec::new(), Diagnostics::new());
        for entry in self.runs().await? {
            match self.journal.read(&entry.run).await {
                Ok((records, _)) => match Run::replay(&entry.run, &records) {
                    Ok(run) => runs.push(run),
                    Err(illegal) => faults.push(senseless(&entry.run, &illegal)),
                },
                // Somebody forgot it meanwhile.
                Err(JournalError::NotFound(_)) => {}
                Err(error) if is_damage(&error) => faults.push(damage(&error, &entry.run)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((runs, faults))
    }

    /// A run as it was before its engine left: what it waited for then it waits for now.
    ///
    /// # Errors
    /// As [`State::replay`].
    pub async fn awake(&self, run: &str) -> Result<Run, Fault> {
        let (mut records, _) = self.journal.read(run).await?;
        while let Some(last) = records.last()
            && matches!(last.event, Event::Interrupted { .. })
        {
            records.pop();
        }
        Run::replay(run, &records).map_err(|illegal| senseless(run, &illegal).into())
    }

    /// Runs that are not at an end, newest first.
    ///
    /// # Errors
    /// Where a journal can't be read.
    pub async fn unfinished(&self) -> Result<Vec<Run>, Fault> {
        let mut unfinished = Vec::new();
        for entry in self.runs().await? {
            let run = self.replay(&entry.run).await?;
            if !finished(&run) {
                unfinished.push(run);
            }
        }
        Ok(unfinished)
    }

    /// The run that is meant: by its name, by the beginning of it, or the only unfinished one.
    ///
    /// # Errors
    /// Where none or several may be meant; says which.
    pub async fn find(&self, named: Option<&str>) -> Result<String, Fault> {
        match named {
            Some(named) => {
                let runs = self.runs().await?;
                let lost = self.journal.lost().await?;
                if lost.iter().any(|run| run == named) {
                    return Err(self.missing(&lost).into());
                }
                Ok(choose(named, runs.iter().map(|entry| entry.run.as_str()))?)
            }
            None => {
                let unfinished = self.unfinished().await?;
                match unfinished.as_slice() {
                    [only] => Ok(only.id().to_owned()),
                    [] => Err(self.none_unfinished().await?.into()),
                    several => Err(Diagnostic::new(
                        codes::RUN_NOT_FOUND,
                        "there are several unfinished runs",
                    )
                    .expected("the name of one, or the beginning of it")
                    .found(listed(several.iter().map(Run::id)))
                    .into()),
                }
            }
        }
    }

    async fn none_unfinished(&self) -> Result<Diagnostic, Fault> {
        if let Some(lost) = self.lost().await? {
            return Ok(lost);
        }
        let fault = Diagnostic::new(codes::RUN_NOT_FOUND, "there is no unfinished run")
            .expected("the name of a run, or one unfinished run");
        Ok(match self.runs().await?.first() {
            Some(last) => fault
                .found(format!("the last run, {}, is over", last.run))
                .hint(format!(
                    "a run that is over has to be named, as in `phasegate status {}`",
                    last.run
                )),
            None => fault.found("no runs").hint("check --state"),
        })
    }
}

/// Lets whoever may use the state directory use a file or folder that was put into it.
pub(crate) fn share(folder: &Path, path: &Path) {
    // Who can't be given rights is told so by what they meet; the run needs only its own.
    let _ = Rights::within(folder).give_to(path);
}

fn no_runs(folder: &Path) -> Diagnostic {
    Diagnostic::new(
        codes::RUN_NOT_FOUND,
        format!("the state directory `{}` holds no runs", folder.display()),
    )
    .expected("a directory in which `phasegate run` has recorded a run")
    .found("no journal")
    .hint("give the right one with --state or PHASEGATE_STATE")
}

/// Refuses a state directory whose journal is gone as a whole, before an empty one is made in its place.
fn none_gone(folder: &Path) -> Result<(), Fault> {
    let gone = SqliteJournal::gone(folder)?;
    if gone.is_empty() {
        return Ok(());
    }
    Err(missing(&gone).into())
}

/// Runs that are known to have been there and that a directory's journal doesn't have.
fn missing(runs: &[String]) -> Diagnostic {
    Diagnostic::new(
        codes::JOURNAL_TAIL_CUT,
        "the journal has lost runs, of which the folder `anchors` knows",
    )
    .expected(format!("{} in journal.db", some(runs)))
    .found("no record of them")
    .hint("restore the state directory from a backup before anything else: one of them may hold a target still; nothing was changed here")
}

/// The same of a journal in a cluster.
fn missing_away(runs: &[String]) -> Diagnostic {
    Diagnostic::new(
        codes::JOURNAL_TAIL_CUT,
        "the journal in the cluster has lost runs, of which Leases know",
    )
    .expected(format!("ConfigMaps `phasegate-journal-RUN-...` of {}", some(runs)))
    .found("no record of them")
    .hint("put them back before anything else: one of the runs may hold a target still; nothing was changed here")
}

/// The first of them.
fn some(runs: &[String]) -> String {
    let names: Vec<&str> = runs.iter().map(String::as_str).take(MAX_NAMED).collect();
    let more = match runs.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", names.join(", "))
}

/// What is wrong with the journal of a run that was checked among others.
#[must_use]
pub fn damage(error: &JournalError, run: &str) -> Diagnostic {
    exit::journal(error).because(format!("while the journal of {run} was checked"))
}

/// Whether it is about one run only, and others can be read.
fn is_damage(error: &JournalError) -> bool {
    matches!(
        error,
        JournalError::Cut { .. } | JournalError::Altered { .. } | JournalError::Newer { .. }
    )
}

/// A journal whose chain is whole and whose records make no sense.
#[must_use]
pub fn senseless(run: &str, illegal: &Illegal) -> Diagnostic {
    internal(format!("the journal of {run} makes no sense"))
        .caused_by(illegal)
        .hint("please report it; nothing was changed in the journal, and the engine that wrote it may still go on with the run")
}

/// Whether nothing more will become of a run unless somebody goes back after success. A rollback
/// that is stuck is not finished: it waits for a person.
#[must_use]
pub fn finished(run: &Run) -> bool {
    run.resting() && run.stuck_now().is_none()
}

/// The name that is meant among those that there are.
fn choose<'a>(
    named: &str,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<String, Diagnostic> {
    if let Some(exact) = names.clone().find(|name| *name == named) {
        return Ok(exact.to_owned());
    }
    let begin: Vec<&str> = names
        .clone()
        .filter(|name| !named.is_empty() && name.starts_with(named))
        .collect();
    let fault = |message: String| Diagnostic::new(codes::RUN_NOT_FOUND, message);
    match begin.as_slice() {
        [only] => Ok((*only).to_owned()),
        [] => {
            let fault = fault(format!("there is no run `{named}`"))
                .expected("the name of a run, or the beginning of it")
                .found(format!("`{named}`"));
            Err(match nearest(named, names) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint("`phasegate history` lists the runs; check --state"),
            })
        }
        several => Err(fault(format!("several runs begin with `{named}`"))
            .expected("a name that only one run begins with")
            .found(listed(several.iter().copied()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(named: &str) -> Result<String, String> {
        let names = ["hello-20261117-aa01f3", "hello-20261117-bb99d0", "shop-1"];
        choose(named, names.into_iter()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_run_is_named_by_its_beginning() {
        assert_eq!(chosen("shop").unwrap(), "shop-1");
        assert_eq!(chosen("hello-20261117-b").unwrap(), "hello-20261117-bb99d0");
        assert!(chosen("hello").unwrap_err().contains("several runs"));
        assert!(chosen("").unwrap_err().contains("there is no run"));
    }

    #[test]
    fn a_name_that_is_nearly_right_is_suggested() {
        let fault = chosen("hello-20261117-aa01f4").unwrap_err();
        assert!(
            fault.contains("did you mean `hello-20261117-aa01f3`?"),
            "{fault}"
        );
    }
}
