//! The inbox of commands.

use phasegate_core::event::{Command, Identity};
use phasegate_core::time::Timestamp;
use phasegate_runtime::ports::{Inboxed, JournalError};
use rusqlite::{OptionalExtension, params};
use serde::de::DeserializeOwned;

use super::records::{begin, number, signed};
use super::{Inner, fault};
use crate::limits::{MAX_COMMAND_BYTES, MAX_INBOX_PAGE, MAX_OPEN_COMMANDS, within};
use crate::unknown;

pub(super) fn post(
    inner: &Inner,
    run: &str,
    at: Timestamp,
    by: &Identity,
    command: &Command,
) -> Result<u64, JournalError> {
    let unwritable = |error: serde_json::Error| {
        JournalError::Storage(
            "the command can't be written".to_owned(),
            Some(Box::new(error)),
        )
    };
    let by = serde_json::to_string(by).map_err(unwritable)?;
    let command = serde_json::to_string(command).map_err(unwritable)?;
    within("a command", by.len() + command.len(), MAX_COMMAND_BYTES)?;
    let mut connection = inner.connection();
    let write = begin(&mut connection)?;
    let number = number(&write, run)?;
    let (last, open): (i64, i64) = write
        .prepare_cached(
            "SELECT coalesce(max(id), 0), count(*) FILTER (WHERE answered = 0) FROM inbox WHERE run = ?",
        )
        .and_then(|mut query| query.query_row([number], |row| Ok((row.get(0)?, row.get(1)?))))
        .map_err(fault::sql)?;
    if open >= MAX_OPEN_COMMANDS as i64 {
        return Err(JournalError::Limit(format!(
            "{open} commands wait for an answer of {run}, at most {MAX_OPEN_COMMANDS} may"
        )));
    }
    let id = last.max(0).saturating_add(1);
    write
        .prepare_cached("INSERT INTO inbox (run, id, at, by, command) VALUES (?, ?, ?, ?, ?)")
        .and_then(|mut insert| {
            insert.execute(params![number, id, signed(at.as_millis()), by, command])
        })
        .map_err(fault::sql)?;
    write.commit().map_err(fault::sql)?;
    Ok(id.cast_unsigned())
}

pub(super) fn inbox(inner: &Inner, run: &str, after: u64) -> Result<Vec<Inboxed>, JournalError> {
    let connection = inner.connection();
    let number = number(&connection, run)?;
    let mut query = connection
        .prepare_cached(
            "SELECT id, at, by, command FROM inbox WHERE run = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .map_err(fault::sql)?;
    let mut found = query
        .query(params![number, signed(after), MAX_INBOX_PAGE as i64])
        .map_err(fault::sql)?;
    let mut commands = Vec::new();
    while let Some(row) = found.next().map_err(fault::sql)? {
        let id: i64 = row.get(0).map_err(fault::sql)?;
        let at: i64 = row.get(1).map_err(fault::sql)?;
        commands.push(Inboxed {
            id: id.max(0).cast_unsigned(),
            at: Timestamp::from_millis(at.max(0).cast_unsigned()),
            by: json(row, 2, id)?,
            command: json(row, 3, id)?,
        });
    }
    Ok(commands)
}

pub(super) fn answer(
    inner: &Inner,
    run: &str,
    id: u64,
    refused: Option<&str>,
) -> Result<(), JournalError> {
    within("a refusal", refused.map_or(0, str::len), MAX_COMMAND_BYTES)?;
    let mut connection = inner.connection();
    let write = begin(&mut connection)?;
    let number = number(&write, run)?;
    // The first answer stays: it is what people were told. An engine that died after it gives it again.
    let written = write
        .prepare_cached(
            "UPDATE inbox SET refused = CASE answered WHEN 0 THEN ? ELSE refused END, answered = 1 \
             WHERE run = ? AND id = ?",
        )
        .and_then(|mut update| update.execute(params![refused, number, signed(id)]))
        .map_err(fault::sql)?;
    if written == 0 {
        return Err(unknown(run, id));
    }
    write.commit().map_err(fault::sql)
}

pub(super) fn answered(
    inner: &Inner,
    run: &str,
    id: u64,
) -> Result<Option<Result<(), String>>, JournalError> {
    let connection = inner.connection();
    let number = number(&connection, run)?;
    let found: Option<(bool, Option<String>)> = connection
        .prepare_cached("SELECT answered, refused FROM inbox WHERE run = ? AND id = ?")
        .and_then(|mut query| {
            let answer = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            query
                .query_row(params![number, signed(id)], answer)
                .optional()
        })
        .map_err(fault::sql)?;
    match found {
        None => Err(unknown(run, id)),
        Some((false, _)) => Ok(None),
        Some((true, None)) => Ok(Some(Ok(()))),
        Some((true, Some(why))) => Ok(Some(Err(why))),
    }
}

fn json<T: DeserializeOwned>(
    row: &rusqlite::Row<'_>,
    index: usize,
    id: i64,
) -> Result<T, JournalError> {
    let text: String = row.get(index).map_err(fault::sql)?;
    serde_json::from_str(&text).map_err(|error| {
        JournalError::Storage(format!("command {id} can't be read"), Some(Box::new(error)))
    })
}
