//! `phasegate doctor`: whether everything is there that an engine needs.

use std::path::Path;

use phasegate_core::diagnostic::Diagnostic;
use phasegate_core::spec::policy::PluginLimits;
use phasegate_core::time::Timestamp;
use phasegate_registry::DirCache;
use phasegate_runtime::ports::Clock;
use phasegate_store::SqliteJournal;
use phasegate_world::clock::SystemClock;
use phasegate_world::connect;
use serde::Serialize;

use super::release::{self, SIMULATED, cache_folder, host};
use crate::args::{Doctor, Inputs};
use crate::console::Console;
use crate::exit::{Exit, Fault, Outcome};
use crate::seat::Seat;
use crate::simulated::{self, Standing};
use crate::state::State;
use crate::{builtin, compose, files, plugins};

/// A clock that shows an earlier time than this was never set: 2026-01-01.
const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// What became of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Health {
    Good,
    Note,
    Bad,
}

/// A check.
#[derive(Serialize)]
struct Check {
    what: &'static str,
    health: Health,
    found: String,
}

impl Check {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            what,
            health: Health::Good,
            found: found.into(),
        }
    }

    fn note(what: &'static str, found: impl Into<String>) -> Self {
        Self {
            health: Health::Note,
            ..Self::good(what, found)
        }
    }

    fn bad(what: &'static str, fault: &Diagnostic) -> Self {
        let part = |name: &str, text: Option<&str>| {
            text.map_or_else(String::new, |text| format!("; {name}{text}"))
        };
        let told = format!(
            "[{}] {}{}{}{}",
            fault.code(),
            fault.message(),
            part("expected: ", fault.expected_text()),
            part("found: ", fault.found_text()),
            part("", fault.hint_text()),
        );
        Self {
            health: Health::Bad,
            ..Self::good(what, told)
        }
    }
}

/// Checks everything; exits 3 where something is not as it must be.
pub(super) async fn doctor(args: &Doctor, folder: &Path, console: &Console) -> Outcome {
    let mut checks = vec![clock(), state(folder)];
    checks.push(journal(folder).await);
    checks.push(match real_cluster(args)? {
        Some(context) => kubernetes(context).await,
        None => cluster(folder).await,
    });
    checks.push(cache());
    checks.push(shipped().await);
    console.either(&checks, || {
        checks
            .iter()
            .map(|check| {
                let mark = match check.health {
                    Health::Good => "ok  ",
                    Health::Note => "note",
                    Health::Bad => "BAD ",
                };
                format!("{mark} {:<18} {}", check.what, check.found)
            })
            .collect::<Vec<_>>()
            .join("\n")
    })?;
    let bad = checks.iter().any(|check| check.health == Health::Bad);
    Ok(if bad { Exit::Refused } else { Exit::Succeeded })
}

fn clock() -> Check {
    let now = SystemClock.now();
    if now < EARLIEST {
        return Check {
            health: Health::Bad,
            ..Check::good("clock", format!("{now}: it was never set"))
        };
    }
    Check::good("clock", now.to_string())
}

/// Whether runs can be recorded here. Nothing is made that a run would not make.
fn state(folder: &Path) -> Check {
    let what = "state directory";
    let shown = folder.display();
    match Seat::of(folder) {
        Ok(None) => {}
        Ok(Some(_)) => return Check::good("state", format!("{shown}, in a cluster")),
        Err(fault) => return Check::bad("state", &fault),
    }
    let nearest = folder.ancestors().find(|folder| folder.exists());
    let place = match nearest {
        Some(place) if place.as_os_str().is_empty() => Path::new("."),
        Some(place) => place,
        None => Path::new("."),
    };
    let access = rustix::fs::access(place, rustix::fs::Access::WRITE_OK);
    match access {
        Ok(()) if folder.exists() => match files::room(folder) {
            Ok(()) => Check::good(what, format!("{shown}, writable")),
            Err(full) => Check::bad(what, &full),
        },
        Ok(()) => Check::note(what, format!("{shown} is made by the first run")),
        Err(error) => Check {
            health: Health::Bad,
            ..Check::good(what, format!("{shown} can't be written to: {error}"))
        },
    }
}

async fn journal(folder: &Path) -> Check {
    let what = "journal";
    let is_away = matches!(Seat::of(folder), Ok(Some(_)));
    match SqliteJournal::exists(folder) {
        _ if is_away => {}
        Ok(true) => {}
        Ok(false) => return Check::note(what, "none yet"),
        Err(error) => return Check::bad(what, &crate::exit::journal(&error)),
    }
    let state = match State::to_look(folder).await {
        Ok(state) => state,
        Err(fault) => return first_of(what, &fault.diagnostics),
    };
    let runs = match state.runs().await {
        Ok(runs) => runs,
        Err(fault) => return first_of(what, &fault.diagnostics),
    };
    for entry in &runs {
        if let Err(error) = state.journal.verify(&entry.run).await {
            return Check::bad(what, &crate::exit::journal(&error));
        }
    }
    match state.lost().await {
        Ok(None) => Check::good(what, format!("{} runs, all whole", runs.len())),
        Ok(Some(lost)) => Check::bad(what, &lost),
        Err(fault) => first_of(what, &fault.diagnostics),
    }
}

fn first_of(what: &'static str, faults: &phasegate_core::diagnostic::Diagnostics) -> Check {
    match faults.iter().next() {
        Some(fault) => Check::bad(what, fault),
        None => Check::note(what, "unknown"),
    }
}

/// The cluster of the release that is named, where it is a real one: its context, or why it has none.
fn real_cluster(args: &Doctor) -> Result<Option<Result<String, Diagnostic>>, Fault> {
    let Some(file) = &args.file else {
        return Ok(None);
    };
    let inputs = Inputs {
        environment: args.environment.clone(),
        ..Inputs::default()
    };
    let cluster = release::load(file, &inputs)?.cluster();
    Ok(match cluster {
        Ok(cluster) if cluster == SIMULATED => None,
        cluster => Some(cluster),
    })
}

async fn kubernetes(context: Result<String, Diagnostic>) -> Check {
    let what = "cluster";
    let connected = match &context {
        Ok(context) => connect::connect(context).await,
        Err(fault) => Err(fault.clone()),
    };
    match connected {
        Ok(found) => {
            let context = context.unwrap_or_default();
            Check::good(what, format!("{context}: {} {}", found.url, found.version))
        }
        Err(fault) => Check::bad(what, &fault),
    }
}

async fn cluster(folder: &Path) -> Check {
    let what = "simulated cluster";
    match simulated::standing(folder).await {
        Err(fault) => Check::bad(what, &fault),
        Ok(Standing::Never) => Check::note(what, "none yet; `phasegate run` starts one"),
        Ok(Standing::Answers(note)) => {
            Check::good(what, format!("{}, process {}", note.url, note.pid))
        }
        Ok(Standing::Hangs(note)) => Check::bad(what, &simulated::hangs(&note)),
        Ok(Standing::Ended(note)) => Check::note(
            what,
            format!(
                "{} has ended, and what was deployed to it is gone; `phasegate run` starts a new one",
                note.url
            ),
        ),
    }
}

fn cache() -> Check {
    let what = "compiled cache";
    let Some(folder) = cache_folder() else {
        return Check::note(
            what,
            "no HOME to put it into: plugins are compiled each time",
        );
    };
    match DirCache::open(&folder) {
        Ok(_) => match files::room(&folder) {
            Ok(()) => Check::good(what, folder.display().to_string()),
            Err(full) => Check::note(
                what,
                format!(
                    "[{}] {}: plugins are compiled each time",
                    full.code(),
                    full.message()
                ),
            ),
        },
        Err(error) => Check::note(what, format!("{error}: plugins are compiled each time")),
    }
}

/// Whether the built-in plugins are there, load, and run on this machine.
async fn shipped() -> Check {
    let what = "built-in plugins";
    let mut components = Vec::new();
    for name in builtin::NAMES {
        match plugins::shipped(name) {
            Ok(component) => components.push(component),
            Err(fault) => return Check::bad(what, &fault),
        }
    }
    let set = match compose::offline(host(&PluginLimits::default()), components) {
        Ok(set) => set,
        Err(fault) => return Check::bad(what, &fault),
    };
    match compose::prepare(&set).await {
        Ok(()) => Check::good(what, builtin::NAMES.join(", ")),
        Err(faults) => first_of(what, &faults),
    }
}
