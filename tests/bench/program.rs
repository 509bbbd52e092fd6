//! The engine as people start it: how long a command takes, and how much memory a run has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use phasegate_cli::simulated;

use crate::example;
use crate::row::{Row, Target};
use crate::statistics::{median, millis};

const VALIDATIONS: usize = 20;
/// Of a machine that is as busy as this one: what starting any program costs.
const PEER: &str = "true";
/// How often the run's memory is looked at. The kernel keeps the highest figure itself.
const LOOK: Duration = Duration::from_millis(5);
/// The example takes some seconds in scaled time.
const PATIENCE: Duration = Duration::from_secs(120);

/// `phasegate` beside this program.
fn engine() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program is in no folder")?;
    let engine = folder.join(format!("phasegate{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        engine.is_file(),
        "there is no {}; start this with `cargo xtask bench`",
        engine.display()
    );
    Ok(engine)
}

/// `phasegate validate` from the start of the process to its end, with plugins compiled before.
pub(crate) fn validate() -> anyhow::Result<Vec<Row>> {
    let engine = engine()?;
    let home = tempfile::tempdir()?;
    let once = |program: &Path| {
        let mut command = Command::new(program);
        command
            .arg("validate")
            .arg(example())
            .env("XDG_CACHE_HOME", home.path())
            .stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status();
        let took = start.elapsed();
        let status = status.with_context(|| format!("can't start {}", program.display()))?;
        ensure!(status.success(), "{} validate: {status}", program.display());
        anyhow::Ok(millis(took))
    };
    // Fills the cache.
    let cold = once(&engine)?;
    let (mut warm, mut peer) = (Vec::new(), Vec::new());
    for _ in 0..VALIDATIONS {
        warm.push(once(&engine)?);
        peer.push(once(Path::new(PEER))?);
    }
    Ok(vec![
        Row::new("phasegate validate, warm cache", median(&warm), "ms")
            .wanted(Target::AtMost(60.0)),
        Row::new("phasegate validate, empty cache", cold, "ms"),
        Row::new("starting a program that does nothing", median(&peer), "ms"),
    ])
}

/// The most memory that `phasegate run` had, of the example on a simulated cluster process.
pub(crate) fn memory() -> anyhow::Result<Vec<Row>> {
    let engine = engine()?;
    let folder = tempfile::tempdir()?;
    let (state, cache) = (folder.path().join("state"), folder.path().join("cache"));
    // With an empty cache the run compiles its plugins, which is when it needs most.
    let compiling = run(&engine, &state.join("1"), &cache)?;
    let cached = run(&engine, &state.join("2"), &cache)?;
    Ok(vec![
        Row::new("resident memory of a run, at most", cached, "MB").wanted(Target::AtMost(100.0)),
        Row::new("the same while it compiles its plugins", compiling, "MB"),
    ])
}

fn run(engine: &Path, state: &Path, cache: &Path) -> anyhow::Result<f64> {
    let child = Command::new(engine)
        .args(["run", "--output", "json", "--state"])
        .arg(state)
        .arg(example())
        .env("XDG_CACHE_HOME", cache)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("can't start the engine")?;
    let peak = watched(child);
    if let Ok(Some(cluster)) = simulated::noted(state) {
        // It would go on for half an hour. One that has ended already is as well.
        let _ = Command::new("kill").arg(cluster.pid.to_string()).status();
    }
    peak
}

fn watched(mut child: Child) -> anyhow::Result<f64> {
    let file = format!("/proc/{}/status", child.id());
    let start = Instant::now();
    let mut peak = None;
    loop {
        // Before it is asked whether it has ended: then there is nothing to be read any more.
        if let Ok(text) = fs::read_to_string(&file) {
            peak = kilobytes(&text).or(peak);
        }
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the run ended with {status}");
            let peak = peak.context("/proc says nothing about memory")?;
            return Ok(peak * 1024.0 / 1e6);
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            bail!("the run did not end within {PATIENCE:?}");
        }
        std::thread::sleep(LOOK);
    }
}

/// The most that was ever resident.
fn kilobytes(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
