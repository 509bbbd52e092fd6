//! The inbox: commands and answers, a sheet each. The numbers of commands have no gaps, so that the next one is asked
//! for by its name.

use phasegate_core::event::{Command, Identity};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Inboxed, JournalError};
use phasegate_runtime::shelf::Part;

use super::{Inner, page};
use crate::limits::{MAX_COMMAND_BYTES, MAX_INBOX_PAGE, MAX_OPEN_COMMANDS, command_within, within};
use crate::unknown;

/// How often a command is given the next number because others took the one before.
const ATTEMPTS: u32 = 1000;

impl Inner {
    /// Refuses a run that there isn't.
    async fn must_be(&self, run: &str) -> Result<(), JournalError> {
        let mut runs = self.known().await;
        self.found(&mut runs, run).await.map(|_| ())
    }

    pub(super) async fn post(
        &self,
        run: &str,
        at: Timestamp,
        by: &Identity,
        command: &Command,
    ) -> Result<u64, JournalError> {
        command_within(by, command)?;
        let mut runs = self.known().await;
        let known = self.found(&mut runs, run).await?;
        let most = u64::try_from(MAX_OPEN_COMMANDS).unwrap_or(u64::MAX);
        let open = |commands: u64, answers: u64| commands.saturating_sub(answers);
        if known.commands == 0 || open(known.commands, known.answers) >= most {
            let parts = [Part::Command, Part::Answer];
            let sheets = self
                .asked(|| self.shelf.list(Some(run), &parts, false))
                .await?;
            let count = |part| sheets.iter().filter(|sheet| sheet.part == part).count();
            known.commands = u64::try_from(count(Part::Command)).unwrap_or(u64::MAX);
            known.answers = u64::try_from(count(Part::Answer)).unwrap_or(u64::MAX);
        }
        for _ in 0..ATTEMPTS {
            let waiting = open(known.commands, known.answers);
            if waiting >= most {
                return Err(JournalError::Limit(format!(
                    "{waiting} commands wait for an answer of {run}, at most {MAX_OPEN_COMMANDS} may"
                )));
            }
            let left = Inboxed {
                id: known.commands.saturating_add(1),
                at,
                by: by.clone(),
                command: command.clone(),
            };
            let sheet = page::command(run, &left)?;
            let made = self.put(&sheet).await?;
            known.commands = left.id;
            if made {
                return Ok(left.id);
            }
        }
        Err(JournalError::InUse(run.to_owned()))
    }

    pub(super) async fn inbox(&self, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
        let mut runs = self.known().await;
        self.confirm(run).await?;
        self.found(&mut runs, run).await?;
        self.flush_if_due(&mut runs, run).await?;
        let mut found = Vec::new();
        let mut id = after;
        while found.len() < MAX_INBOX_PAGE {
            id = id.saturating_add(1);
            let Some(left) = self.left(run, id).await? else {
                break;
            };
            found.push(left);
        }
        Ok(found)
    }

    async fn left(&self, run: &str, id: u64) -> Result<Option<Inboxed>, JournalError> {
        let name = page::command_name(run, id);
        let Some(sheet) = self.asked_of(run, || self.shelf.get(&name)).await? else {
            return Ok(None);
        };
        let left: Inboxed = page::read(&sheet)?;
        // A sheet that somebody made by hand under another number would be taken twice.
        if left.id == id {
            return Ok(Some(left));
        }
        Err(JournalError::Storage(
            format!("`{name}` is not what an engine wrote"),
            None,
        ))
    }

    pub(super) async fn answer(
        &self,
        run: &str,
        id: u64,
        refused: Option<&str>,
    ) -> Result<(), JournalError> {
        within("a refusal", refused.map_or(0, str::len), MAX_COMMAND_BYTES)?;
        self.must_be(run).await?;
        if self.left(run, id).await?.is_none() {
            return Err(unknown(run, id));
        }
        let answer = refused.map_or(Ok(()), |why| Err(why.to_owned()));
        // The first answer is what people were told.
        self.put(&page::answer(run, id, &answer)?).await.map(|_| ())
    }

    pub(super) async fn answered(
        &self,
        run: &str,
        id: u64,
    ) -> Result<Option<Result<(), String>>, JournalError> {
        self.must_be(run).await?;
        let name = page::answer_name(run, id);
        match self.asked_of(run, || self.shelf.get(&name)).await? {
            Some(sheet) => page::read(&sheet).map(Some),
            None if self.left(run, id).await?.is_some() => Ok(None),
            None => Err(unknown(run, id)),
        }
    }
}
