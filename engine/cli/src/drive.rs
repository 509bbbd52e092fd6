//! Driving a run in the foreground: signals, progress, and the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, Place, codes};
use phasegate_core::event::{Identity, Record};
use phasegate_core::failure::Failure;
use phasegate_core::run::{Run, State as RunState};
use phasegate_core::time::Span;
use phasegate_runtime::engine::{GIVE_BACK, INBOX_POLL, Lack, Left, Nudge, Observer, Options};
use phasegate_runtime::ports::Clock;
use phasegate_world::clock::SystemClock;
use phasegate_world::entropy;
use phasegate_world::identity;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::args::{Driving, OnCancel};
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome, internal};
use crate::live::Live;
use crate::runlog;
use crate::show;
use crate::state::State;
use crate::stream;

/// How many nudges may wait; there are two kinds of them, and a third signal ends the process.
const NUDGES: usize = 4;

/// How long an engine that was told to leave may take, in real time, whatever it waits for.
const LEAVE_WITHIN: Span = Span::from_millis(4_500);

/// Who gives commands: the account that this process runs under.
#[must_use]
pub(crate) fn who() -> Identity {
    identity::os_account()
}

/// How an engine is to drive. The scale of the clock decides how often the inbox is looked at in
/// simulated time, so that a person waits the same for an answer.
///
/// # Errors
/// Where the operating system gives no random bytes.
pub(crate) fn options(driving: Driving) -> Result<Options, Diagnostic> {
    let engine = entropy::engine_id()
        .map_err(|e| internal("this engine can't be given a name").caused_by(&e))?;
    Ok(Options {
        engine,
        leave_when_waiting: driving.no_wait,
        inbox_poll: INBOX_POLL,
        give_back: GIVE_BACK,
    })
}

/// Signals as nudges. The first leaves the run, or aborts it where that was asked for; one more ends
/// the process at once.
pub(crate) struct Signals {
    task: JoinHandle<()>,
    aborted: Arc<AtomicBool>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Signals {
    /// Whether a signal has asked for the run to go back.
    pub(crate) fn aborted(&self) -> bool {
        self.aborted.load(Ordering::SeqCst)
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// Where the operating system doesn't let us.
    pub(crate) fn listen(
        on_cancel: OnCancel,
        console: &Console,
    ) -> Result<(Self, mpsc::Receiver<Nudge>), Diagnostic> {
        let (send, receive) = mpsc::channel(NUDGES);
        let fail = |e: std::io::Error| internal("signals can't be listened to").caused_by(&e);
        let mut interrupt = signal(SignalKind::interrupt()).map_err(fail)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(fail)?;
        let console = *console;
        let aborted = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&aborted);
        let task = tokio::spawn(async move {
            let mut leave_by = None;
            let mut before = false;
            loop {
                let late = async {
                    match leave_by {
                        Some(at) => SystemClock.sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                let name = tokio::select! {
                    Some(()) = interrupt.recv() => "SIGINT",
                    Some(()) = terminate.recv() => "SIGTERM",
                    () = late => "too late",
                };
                if before {
                    // The journal is whole at every instant: what is under way is probed on resume.
                    std::process::exit(Exit::Waiting.code().into());
                }
                before = true;
                if on_cancel == OnCancel::Leave {
                    leave_by = Some(SystemClock.now().plus(LEAVE_WITHIN));
                }
                let nudge = match on_cancel {
                    OnCancel::Leave => Nudge::Leave(name.to_owned()),
                    OnCancel::Abort => {
                        noted.store(true, Ordering::SeqCst);
                        console.note("aborting; once more ends this process at once");
                        Nudge::Abort(who(), format!("{name} with --on-cancel=abort"))
                    }
                };
                if send.send(nudge).await.is_err() {
                    return;
                }
            }
        });
        Ok((Self { task, aborted }, receive))
    }
}

/// Renders what is recorded, as the console wants it.
pub(crate) enum Progress {
    /// One JSON object a line.
    Lines(Console, Option<Fault>),
    /// Plain lines, or the live region of a terminal.
    Live(Arc<Live>),
}

impl Progress {
    /// Progress for this console.
    pub(crate) fn new(console: &Console) -> Self {
        if console.json() {
            Self::Lines(*console, None)
        } else {
            Self::Live(Live::begin(console))
        }
    }

    /// Shows a record.
    pub(crate) fn show(&mut self, seq: u64, record: &Record, run: &Run) {
        let lines = stream::lines(seq, record, run);
        match self {
            Self::Lines(console, fault) => {
                for line in lines {
                    let printed = serde_json::to_string(&line)
                        .map_err(|e| internal("a line can't be written").caused_by(&e).into())
                        .and_then(|text| console.data(&text));
                    if let Err(error) = printed {
                        *fault = Some(error);
                    }
                }
            }
            Self::Live(live) => live.take(&lines, run),
        }
    }

    /// Clears the live region away.
    pub(crate) fn end(self) {
        if let Self::Live(live) = self {
            live.end();
        }
    }
}

impl Observer for Progress {
    fn recorded(&mut self, seq: u64, record: &Record, run: &Run) {
        self.show(seq, record, run);
    }

    fn held_up(&mut self, lack: Lack, failure: &Failure) {
        // This is not of the journal: whoever reads it later sees that the run stood still, and that it went on.
        let until = lack.until();
        let words = format!("held up, nothing is done until {until}: {failure}");
        match self {
            Self::Lines(console, _) => {
                let fault = Diagnostic::new(failure.code, words);
                console.faults(&fault.hint("it goes on by itself").into());
            }
            Self::Live(live) => live.note(format!("[{}] {words}", failure.code)),
        }
    }
}

/// Says how a run was left, and what the process exits with.
pub(crate) async fn conclude(state: &State, console: &Console, run: &Run, left: Left) -> Outcome {
    let exit = Exit::of_state(&run.state());
    let awake = match left {
        Left::Waiting => state.awake(run.id()).await?,
        Left::Resting | Left::Interrupted => run.clone(),
    };
    console.note("");
    console.note(&show::run_end(run, &awake, left));
    if run.cause().is_some() && matches!(run.state(), RunState::Ended { .. }) {
        report(console, run);
        let log = runlog::path(&state.folder, run.id());
        if log.is_file() {
            console.note(&format!("  what plugins logged: {}", log.display()));
        }
    }
    Ok(exit)
}

/// What was found out about a failure, for people.
fn report(console: &Console, run: &Run) {
    let Some(diagnosis) = run.diagnosis() else {
        return;
    };
    for (title, lines) in [("events", &diagnosis.events), ("logs", &diagnosis.logs)] {
        if !lines.is_empty() {
            console.note(&format!("  {title} of the failing pods:"));
        }
        for line in lines {
            console.note(&format!("    {line}"));
        }
    }
}

/// A command that a run refused, from the answer in its inbox: `[PG0601] message; hint`.
pub(crate) fn refusal(text: &str) -> Fault {
    let coded = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
        .and_then(|(code, rest)| Some((code.parse().ok()?, rest)));
    let (code, rest) = coded.unwrap_or((codes::COMMAND_ILLEGAL, text));
    let fault = match rest.split_once("; ") {
        Some((message, hint)) => Diagnostic::new(code, message).hint(hint),
        None => Diagnostic::new(code, rest),
    };
    Fault {
        diagnostics: fault.into(),
        exit: Exit::Refused,
    }
}

/// Faults of a saved plan that is no plan.
pub(crate) fn not_a_plan(file: &str, error: &serde_json::Error) -> Diagnostics {
    let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
    let column = u32::try_from(error.column()).unwrap_or(u32::MAX);
    Diagnostic::new(
        codes::WRONG_TYPE,
        format!("`{file}` is not a plan of this engine"),
    )
    .at(Place::file(file).line(line, column))
    .expected("a file that `phasegate plan --out` wrote")
    .found(error.to_string())
    .hint("plan again")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_in_the_inbox_becomes_a_fault_again() {
        let fault = refusal("[PG0605] ada: may not approve it; asked for is operations");
        let first = fault.diagnostics.iter().next().unwrap();
        assert_eq!(first.code(), codes::APPROVER_NOT_ALLOWED);
        assert_eq!(first.message(), "ada: may not approve it");
        assert_eq!(first.hint_text(), Some("asked for is operations"));
        assert_eq!(fault.exit, Exit::Refused);
        assert_eq!(
            refusal("no").diagnostics.iter().next().unwrap().code(),
            codes::COMMAND_ILLEGAL
        );
    }
}
