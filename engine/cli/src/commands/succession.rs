//! What is kept of a run that is to take another's place, from before it asks for the place until it begins:
//! if its process dies in between, `phasegate resume` begins it with the same files.

#![expect(
    clippy::disallowed_methods,
    reason = "what a successor begins with is kept in a file"
)]

use std::path::Path;

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_runtime::ports::{Journal as _, JournalError};
use serde::{Deserialize, Serialize};

use super::order::Order;
use crate::exit::{Fault, internal};
use crate::state::State;
use crate::{files, plugins};

/// Most bytes of such a file: a release, a policy and a plan.
const MAX_BYTES: usize = 64 << 20;

/// A run that is to take another's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Succession {
    /// Its id.
    pub(super) run: String,
    /// The run whose place it takes.
    pub(super) after: String,
    /// What it is to begin with.
    pub(super) order: Order,
}

impl Succession {
    /// Keeps it in the state directory.
    pub(super) fn keep(&self, state: &Path) -> Result<(), Fault> {
        plugins::make_runs(state)?;
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| internal("what a run begins with can't be written").caused_by(&e))?;
        files::replace(&plugins::succession_path(state, &self.run), text.as_bytes())?;
        Ok(())
    }

    /// What was kept for the run, if it is to take another's place and has not begun.
    pub(super) async fn find(state: &State, run: &str) -> Result<Option<Self>, Fault> {
        let path = plugins::succession_path(&state.folder, run);
        match state.journal.read(run).await {
            Err(JournalError::NotFound(_)) if path.is_file() => {}
            // It has begun: what was kept is of no use any more.
            _ => return Ok(None),
        }
        let bytes = files::read_up_to(&path.display().to_string(), MAX_BYTES)?;
        let kept = serde_json::from_slice(&bytes).map_err(|e| {
            Diagnostic::new(
                codes::JOURNAL_UNREADABLE,
                format!("`{}` makes no sense", path.display()),
            )
            .caused_by(&e)
        })?;
        Ok(Some(kept))
    }

    /// All that have not begun.
    pub(super) async fn all(state: &State) -> Result<Vec<Self>, Fault> {
        let mut all = Vec::new();
        for run in plugins::successions(&state.folder) {
            all.extend(Self::find(state, &run).await?);
        }
        Ok(all)
    }
}

/// Forgets what was kept for a run that has begun, or never will.
pub(super) fn forget(state: &Path, run: &str) {
    // A file that stays is clutter, and no more: the journal says whether the run has begun.
    let _ = std::fs::remove_file(plugins::succession_path(state, run));
}
