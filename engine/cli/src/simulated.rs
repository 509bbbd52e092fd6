//! The simulated cluster process of a state directory: finding it, or starting it.
//!
//! `target: simulated` needs no cluster: the first command that needs one starts `phasegate simulate`
//! as a process of its own, detached, and notes it in `simulated.json`. It outlives the engine, so
//! that an engine that is killed finds the cluster as it left it, and ends by itself once nobody has
//! asked it anything for a while.

#![expect(
    clippy::disallowed_methods,
    reason = "the simulated cluster is noted in files of the state directory"
)]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use phasegate_core::diagnostic::{Diagnostic, codes};
use phasegate_core::time::{Span, Timestamp};
use phasegate_registry::digest;
use phasegate_runtime::ports::Clock;
use phasegate_world::clock::{ScaledClock, SystemClock};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::exit::internal;
use crate::files;
use crate::state::share;

/// How long a simulated cluster outlives its last request, in real time.
pub const IDLE_TIMEOUT: Span = Span::from_mins(30);
/// How long a new one may take until it listens.
const READY_TIMEOUT: Span = Span::from_secs(20);
/// How often it is looked whether it does.
const READY_POLL: Span = Span::from_millis(25);
/// Most bytes of the log and of the note that are read.
const MAX_LOG: u64 = 64 << 10;

/// The command that the process was started with.
const COMMAND: &str = "simulate";
const NOTE: &str = "simulated.json";
const LOG: &str = "simulated.log";
const SCENARIO: &str = "simulated.scenario.yaml";
const LOCK: &str = "simulated.lock";

/// What is noted of a simulated cluster that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Where it listens.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// The scenario file it was started with, as an absolute path.
    pub scenario: Option<PathBuf>,
    /// The digest of what that file held.
    pub digest: Option<String>,
    /// When it was started, by the clock on the wall.
    pub started: Timestamp,
}

/// What a release wants of its simulated cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The scenario file.
    pub scenario: Option<PathBuf>,
    /// How fast time goes.
    pub speed: Option<f64>,
    /// What a new cluster holds where no scenario file says it. A cluster that runs is taken as it is then.
    pub otherwise: Option<String>,
}

/// What `phasegate simulate --output json` says first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listening {
    /// Where it listens.
    pub url: String,
    /// Its process.
    pub pid: u32,
}

/// What is noted in a state directory, if anything.
///
/// # Errors
/// Where the note can't be read: the cluster may be there all the same, with what was deployed to it.
pub fn noted(state: &Path) -> Result<Option<Note>, Diagnostic> {
    let path = state.join(NOTE);
    let unreadable = |error: &dyn std::error::Error| {
        Diagnostic::new(
            codes::JOURNAL_UNREADABLE,
            format!("the note of the simulated cluster, `{}`, can't be read", path.display()),
        )
        .expected("an address and a process, as `phasegate run` wrote them")
        .found(error.to_string())
        .hint("look for a process `phasegate simulate`: where there is none, remove the file; what was deployed is gone then")
    };
    let text = match head_of(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| unreadable(&e))
}

/// How the simulated cluster of a state directory is. Every command asks here, so that no two of them
/// can disagree about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// None was ever started.
    Never,
    /// It answers.
    Answers(Note),
    /// Its process lives and doesn't answer.
    Hangs(Note),
    /// Its process has ended, and with it all that was deployed is gone.
    Ended(Note),
}

/// Looks at the simulated cluster of a state directory.
///
/// # Errors
/// As [`noted`].
pub async fn standing(state: &Path) -> Result<Standing, Diagnostic> {
    let Some(note) = noted(state)? else {
        return Ok(Standing::Never);
    };
    if ScaledClock::read(&note.url).await.is_ok() {
        return Ok(Standing::Answers(note));
    }
    Ok(if lives(note.pid) {
        Standing::Hangs(note)
    } else {
        Standing::Ended(note)
    })
}

/// The simulated cluster of this state directory: the one that runs, or a new one.
///
/// # Errors
/// Where another scenario is under way in the one that runs, or none can be started.
pub async fn ensure(
    state: &Path,
    wanted: &Wanted,
    note: impl FnOnce(&str),
) -> Result<Note, Diagnostic> {
    let found = match &wanted.scenario {
        Some(path) => Some(digest(&files::read(&path.display().to_string())?)),
        None => None,
    };
    // Two commands at once must not start two clusters.
    let _lock = locked(&state.join(LOCK)).await?;
    share(state, &state.join(LOCK));
    match standing(state).await? {
        Standing::Answers(known) if wanted.scenario.is_none() || known.digest == found => {
            return Ok(known);
        }
        Standing::Answers(known) => return Err(other_scenario(&known, wanted)),
        Standing::Hangs(known) => return Err(hangs(&known)),
        Standing::Never | Standing::Ended(_) => {}
    }
    let scenario = match (&wanted.scenario, &wanted.otherwise) {
        (None, Some(text)) => {
            let path = state.join(SCENARIO);
            files::replace(&path, text.as_bytes())?;
            share(state, &path);
            Some(path)
        }
        (scenario, _) => scenario.clone(),
    };
    // What a cluster says of itself goes into a file: on a full disk it would be lost, and its fault with it.
    files::room(state)?;
    let (listening, child) = start(state, scenario.as_deref(), wanted.speed).await?;
    let known = Note {
        url: listening.url,
        pid: listening.pid,
        scenario: wanted.scenario.clone(),
        digest: found,
        started: SystemClock.now(),
    };
    let text = serde_json::to_string_pretty(&known)
        .map_err(|e| internal("a note can't be written as JSON").caused_by(&e))?;
    if let Err(fault) = files::replace(&state.join(NOTE), text.as_bytes()) {
        // Nobody would find it again.
        end(child);
        return Err(fault);
    }
    share(state, &state.join(NOTE));
    note(&format!(
        "started a simulated cluster at {}, process {}",
        known.url, known.pid
    ));
    Ok(known)
}

/// Whether the process of that number is a simulated cluster still. One that was killed keeps its number
/// until its parent has asked for its end, which nobody may ever do in a container, and another program
/// may have the number since: neither holds anything that was deployed.
fn lives(pid: u32) -> bool {
    let numbered = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if numbered.is_none_or(|pid| rustix::process::test_kill_process(pid).is_err()) {
        return false;
    }
    // A process that has ended has no arguments any more. Where there is no such file, the number decides.
    match head_of(&PathBuf::from(format!("/proc/{pid}/cmdline"))) {
        Ok(arguments) => arguments.split('\0').any(|argument| argument == COMMAND),
        Err(_) => true,
    }
}

/// A cluster that hangs still holds what was deployed: a second one beside it would hide that.
#[must_use]
pub fn hangs(known: &Note) -> Diagnostic {
    Diagnostic::new(
        codes::CLUSTER_UNREACHABLE,
        format!("the simulated cluster at {} does not answer", known.url),
    )
    .expected("an answer, since its process lives")
    .found(format!("process {}", known.pid))
    .hint(format!(
        "wait for it, or end it with `kill {}` and begin anew",
        known.pid
    ))
}

/// The simulated cluster that runs, for a command about a run that is there already.
///
/// # Errors
/// Where it doesn't run any more: with it, all that the run knew of is gone.
pub async fn running(state: &Path) -> Result<Note, Diagnostic> {
    match standing(state).await? {
        Standing::Answers(note) => Ok(note),
        Standing::Hangs(note) => Err(hangs(&note)),
        Standing::Ended(note) => Err(Diagnostic::new(
            codes::CLUSTER_UNREACHABLE,
            format!("the simulated cluster at {} has ended", note.url),
        )
        .expected(format!("process {} to answer", note.pid))
        .found("no answer")
        .hint("what was deployed to it is gone; begin anew with another --state")),
        Standing::Never => Err(Diagnostic::new(
            codes::CLUSTER_UNREACHABLE,
            "this state directory knows no simulated cluster",
        )
        .hint("`phasegate run` starts one")),
    }
}

fn other_scenario(known: &Note, wanted: &Wanted) -> Diagnostic {
    let named = |scenario: &Option<PathBuf>| match scenario {
        Some(path) => format!("`{}`", path.display()),
        None => "none".to_owned(),
    };
    let same = known.scenario == wanted.scenario;
    let what = if same {
        "the scenario file has changed since the simulated cluster was started"
    } else {
        "the simulated cluster plays another scenario"
    };
    Diagnostic::new(codes::CONFLICT, what)
        .expected(format!("scenario {}", named(&wanted.scenario)))
        .found(format!(
            "scenario {}{} in process {}",
            named(&known.scenario),
            if same { " as it was" } else { "" },
            known.pid
        ))
        .hint(format!(
            "use another --state, or end it with `kill {}` and run again; what was deployed to it is gone then",
            known.pid
        ))
}

/// The arguments of the process.
fn arguments(scenario: Option<&Path>, speed: Option<f64>) -> Vec<String> {
    let mut arguments: Vec<String> = [
        COMMAND,
        "--listen",
        "127.0.0.1:0",
        "--output",
        "json",
        "--idle-timeout",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(IDLE_TIMEOUT.to_string());
    if let Some(scenario) = scenario {
        arguments.push("--scenario".to_owned());
        arguments.push(scenario.display().to_string());
    }
    if let Some(speed) = speed {
        arguments.push("--speed".to_owned());
        arguments.push(speed.to_string());
    }
    arguments
}

async fn start(
    state: &Path,
    scenario: Option<&Path>,
    speed: Option<f64>,
) -> Result<(Listening, Child), Diagnostic> {
    let failed = |error: &std::io::Error| {
        if files::is_full(error) {
            return files::unwritable(state, error);
        }
        Diagnostic::new(
            codes::CLUSTER_UNREACHABLE,
            "no simulated cluster can be started",
        )
        .caused_by(error)
    };
    let path = state.join(LOG);
    let log = File::create(&path).map_err(|e| failed(&e))?;
    share(state, &path);
    let errors = log.try_clone().map_err(|e| failed(&e))?;
    let program = std::env::current_exe().map_err(|e| failed(&e))?;
    #[expect(
        clippy::disallowed_methods,
        reason = "the one process that the engine starts by itself: its own program and an argument list"
    )]
    let mut command = Command::new(program);
    command
        .args(arguments(scenario, speed))
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Ctrl-C at the terminal is for the engine, not for its cluster.
        .process_group(0);
    let mut child = command.spawn().map_err(|e| failed(&e))?;
    let deadline = SystemClock.now().plus(READY_TIMEOUT);
    loop {
        let said = head_of(&path).unwrap_or_default();
        let listening = said
            .lines()
            .find_map(|line| serde_json::from_str::<Listening>(line).ok());
        if let Some(listening) = listening
            && ScaledClock::read(&listening.url).await.is_ok()
        {
            return Ok((listening, child));
        }
        let ended = child.try_wait().map_err(|e| failed(&e))?;
        if let Some(status) = ended {
            let fault = broken(&said, &format!("it ended with {status}"));
            return Err(files::room(state).err().unwrap_or(fault));
        }
        if SystemClock.now() >= deadline {
            end(child);
            return Err(broken(
                &said,
                &format!("it did not listen within {READY_TIMEOUT}"),
            ));
        }
        let now = SystemClock.now();
        SystemClock.sleep_until(now.plus(READY_POLL)).await;
    }
}

/// Ends a process that is ours, and of no use to anybody.
fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// What the process said of itself is the fault, where it said so in the form of one.
fn broken(said: &str, how: &str) -> Diagnostic {
    let fault = said.lines().find_map(|line| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        serde_json::from_value::<Diagnostic>(value.pointer("/diagnostics/0")?.clone()).ok()
    });
    fault.unwrap_or_else(|| {
        let last = said.lines().last().unwrap_or("nothing");
        Diagnostic::new(
            codes::CLUSTER_UNREACHABLE,
            "the simulated cluster could not be started",
        )
        .found(how)
        .because(last)
    })
}

/// A lock on a file, held until it is dropped.
async fn locked(path: &Path) -> Result<File, Diagnostic> {
    let fault = |error: std::io::Error| {
        Diagnostic::new(
            codes::STATE_IN_USE,
            format!("`{}` can't be locked", path.display()),
        )
        .caused_by(&error)
        .hint("another command starts a simulated cluster here; try again")
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            if files::is_full(&error) {
                return files::unwritable(path, &error);
            }
            Diagnostic::new(
                codes::JOURNAL_UNREADABLE,
                format!("`{}` can't be opened", path.display()),
            )
            .caused_by(&error)
            .hint("check --state, and that you may read and write there")
        })?;
    let deadline = SystemClock.now().plus(READY_TIMEOUT);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if SystemClock.now() >= deadline => return Err(fault(error.into())),
            Err(_) => {
                let now = SystemClock.now();
                SystemClock.sleep_until(now.plus(READY_POLL)).await;
            }
        }
    }
}

fn head_of(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_LOG).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_says_is_wrong_is_what_the_user_is_told() {
        let fault = Diagnostic::new(codes::SCENARIO_INVALID, "no such thing");
        let said = serde_json::to_string(&phasegate_core::diagnostic::Diagnostics::from(
            fault.clone(),
        ))
        .unwrap();
        assert_eq!(broken(&said, "it ended"), fault);
        assert_eq!(
            broken("Killed", "it ended").code(),
            codes::CLUSTER_UNREACHABLE
        );
    }

    #[test]
    fn a_scenario_and_a_speed_are_handed_on() {
        let arguments = arguments(Some(Path::new("/a/b.yaml")), Some(60.0)).join(" ");
        assert!(
            arguments.ends_with("--idle-timeout 30m --scenario /a/b.yaml --speed 60"),
            "{arguments}"
        );
    }
}
