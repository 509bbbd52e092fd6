//! Fuzz targets, built with the stable compiler.
//!
//! The targets are in `fuzz/fuzz_targets`, laid out as `cargo fuzz` has it, and use
//! `libfuzzer-sys`. `cargo fuzz` itself isn't needed: it only passes the flags below, for which it
//! wants a nightly compiler. `RUSTC_BOOTSTRAP` lets the stable one take them, and the sanitizer's
//! runtime comes with it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::exec;
use crate::workspace::Workspace;

/// How long each target runs in CI, in seconds: enough to find what was broken just now.
pub(crate) const CI_SECONDS: u64 = 20;

/// How long each target runs when a person asks, in seconds.
pub(crate) const DEFAULT_SECONDS: u64 = 60;

/// A single input that takes longer, in seconds, is a finding.
const INPUT_LIMIT_SECONDS: u64 = 10;

/// A target that needs more memory, in MB, is a finding.
const MEMORY_LIMIT_MB: u64 = 2048;

/// Address sanitizer, and coverage that guides the fuzzer.
const FLAGS: [&str; 10] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "--cfg",
    "fuzzing",
];

/// Where the targets are.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.root.join("fuzz")
}

/// Whether there is anything to fuzz.
pub(crate) fn exists(workspace: &Workspace) -> bool {
    folder(workspace).join("Cargo.toml").is_file()
}

/// Builds the targets, runs each for so many seconds, and fails if one found something.
pub(crate) fn run(workspace: &Workspace, wanted: &[String], seconds: u64) -> anyhow::Result<()> {
    let folder = folder(workspace);
    let known = targets(&folder)?;
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!(
            "there is no fuzz target {unknown}, but: {}",
            known.join(", ")
        );
    }
    let chosen = if wanted.is_empty() { &known } else { wanted };
    let binaries = build(workspace, &folder)?;
    let mut found = Vec::new();
    for name in chosen {
        if let Err(error) = fuzz(&folder, &binaries.join(name), name, seconds) {
            exec::say(format!("{error:#}"));
            found.push(name.as_str());
        }
    }
    if !found.is_empty() {
        bail!("fuzzing found something in {}", found.join(", "));
    }
    Ok(())
}

/// The names of all targets: one source file each.
fn targets(folder: &Path) -> anyhow::Result<Vec<String>> {
    let sources = folder.join("fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(&sources)
        .with_context(|| format!("can't read {}", sources.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        bail!("{} has no fuzz target", sources.display());
    }
    Ok(names)
}

/// Builds all targets and returns the folder they are in.
fn build(workspace: &Workspace, folder: &Path) -> anyhow::Result<PathBuf> {
    exec::say("building the fuzz targets");
    let verbose = exec::output(
        Command::new("rustc")
            .current_dir(&workspace.root)
            .arg("-vV"),
    )?;
    let host = verbose
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV prints no host")?;
    let target = workspace.target.join("fuzz");
    // The target is named although it is the host: else build scripts would get the flags too.
    exec::run(
        exec::cargo(folder)
            .args(["build", "--release", "--bins", "--target", host])
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")),
    )?;
    Ok(target.join(host).join("release"))
}

/// Runs one target. What it learns stays in `corpus`, what it finds in `artifacts`; both are
/// ignored by git. Inputs worth keeping are put into `seeds`.
fn fuzz(folder: &Path, binary: &Path, name: &str, seconds: u64) -> anyhow::Result<()> {
    exec::say(format!("fuzzing {name} for {seconds} s"));
    let corpus = folder.join("corpus").join(name);
    let artifacts = folder.join("artifacts").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(binary);
    command.current_dir(folder).arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    command
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_LIMIT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_LIMIT_MB}"))
        .args(["-print_final_stats=1", "-verbosity=0"])
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("can't start the fuzz target {name}"))?;
    let output = child.stderr.take().context("the fuzzer has no output")?;
    let mut inputs = None;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        inputs = inputs.or_else(|| executed(&line));
        if !line.starts_with("stat::") && !line.starts_with("INFO:") {
            eprintln!("{line}");
        }
    }
    if !child.wait()?.success() {
        bail!(
            "{name} failed; to see it again: {} FILE, with a FILE from {}",
            binary.display(),
            artifacts.display()
        );
    }
    // A fuzzer that tried nothing has shown nothing.
    let inputs = inputs.filter(|count| *count > 0);
    let inputs = inputs.with_context(|| format!("{name} ended without trying a single input"))?;
    exec::say(format!("{name}: {inputs} inputs, nothing found"));
    Ok(())
}

/// The number of inputs tried, from the fuzzer's final statistics.
fn executed(line: &str) -> Option<u64> {
    let value = line.strip_prefix("stat::number_of_executed_units:")?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_rust_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let sources = folder.path().join("fuzz_targets");
        fs::create_dir(&sources).unwrap();
        for name in ["scenario.rs", "release.rs", "notes.md"] {
            fs::write(sources.join(name), "").unwrap();
        }
        assert_eq!(targets(folder.path()).unwrap(), ["release", "scenario"]);
    }

    #[test]
    fn no_targets_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(targets(folder.path()).is_err());
        fs::create_dir(folder.path().join("fuzz_targets")).unwrap();
        assert!(targets(folder.path()).is_err());
    }

    #[test]
    fn the_number_of_inputs_is_read_from_the_statistics() {
        assert_eq!(
            executed("stat::number_of_executed_units: 1920844"),
            Some(1_920_844)
        );
        assert_eq!(executed("stat::new_units_added:          0"), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_finding_and_a_fuzzer_that_tried_nothing_are_failures() {
        let folder = tempfile::tempdir().unwrap();
        let fake = |name: &str, script: &str| {
            let file = folder.path().join(name);
            // Written by another process: were it open for writing here while another test starts
            // a program, that program would inherit it, and the file would be busy.
            let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""#;
            exec::run(
                Command::new("sh")
                    .args(["-c", write])
                    .arg(&file)
                    .arg(script),
            )
            .unwrap();
            fuzz(folder.path(), &file, name, 1)
        };
        let statistics = "echo stat::number_of_executed_units: 7 >&2";
        assert!(fake("good", statistics).is_ok());
        let idle = fake("idle", "true").unwrap_err().to_string();
        assert!(idle.contains("without trying"), "{idle}");
        let bad = fake("bad", &format!("{statistics}; exit 77")).unwrap_err();
        assert!(bad.to_string().contains("artifacts/bad"), "{bad}");
    }
}
