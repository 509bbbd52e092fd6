//! Every test of every workspace, and one line that sums them up.

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::cluster::{self, Cluster, Go};
use crate::exec;
use crate::plugins;
use crate::programs;
use crate::workspace::Workspace;

/// Builds what the tests need and runs them; the last line on stdout is the sum.
pub(crate) fn run(workspace: &Workspace, filter: &[String]) -> anyhow::Result<ExitCode> {
    plugins::build(workspace)?;
    let report = test(workspace, filter)?;
    report.print();
    Ok(report.code())
}

/// How many tests did what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

impl Counts {
    /// Reads the line with which a test binary ends; `None` for any other line.
    fn from_line(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("test result: ")?;
        let count = |what: &str| {
            rest.split(';').find_map(|part| {
                let mut words = part.split_whitespace().rev();
                (words.next() == Some(what)).then(|| words.next()?.parse().ok())?
            })
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("ignored").unwrap_or(0),
        })
    }
}

/// What came of all suites.
#[derive(Default)]
pub(crate) struct Report {
    counts: Counts,
    /// Why this isn't a success, a line for each reason.
    troubles: Vec<String>,
    /// Tests that this machine can't run, and why, a line for each.
    left_out: Vec<String>,
}

impl Report {
    /// Runs one suite and adds it.
    fn run(&mut self, name: &str, mut command: Command, filter: &[String]) -> anyhow::Result<()> {
        command.arg("--").args(filter);
        let (counts, succeeded) = stream(&mut command, &mut std::io::stdout().lock())?;
        self.add(name, counts, succeeded);
        Ok(())
    }

    /// Adds one suite. One that failed without a failed test (it didn't compile, or it crashed)
    /// counts as a failure, so that the sum never looks better than the truth.
    fn add(&mut self, name: &str, mut counts: Counts, succeeded: bool) {
        if !succeeded && counts.failed == 0 {
            counts.failed = 1;
        }
        if !succeeded || counts.failed > 0 {
            self.troubles.push(format!("failed: {name}"));
        }
        self.counts += counts;
    }

    /// Adds something that isn't a test and went wrong.
    pub(crate) fn trouble(&mut self, what: String) {
        self.troubles.push(what);
    }

    fn finish(&mut self) {
        let Counts { passed, failed, .. } = self.counts;
        if passed == 0 && failed == 0 {
            self.troubles.push("no test ran".to_owned());
        }
    }

    /// Ends the output: everything on stderr first, then the sum as the only line after it.
    pub(crate) fn print(&self) {
        for left_out in &self.left_out {
            eprintln!("left out: {left_out}");
        }
        for trouble in &self.troubles {
            eprintln!("error: {trouble}");
        }
        println!("{}", self.counts);
    }

    pub(crate) fn code(&self) -> ExitCode {
        if self.troubles.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

/// Runs the tests of the root and of the guests' workspaces, natively.
pub(crate) fn test(workspace: &Workspace, filter: &[String]) -> anyhow::Result<Report> {
    programs::ensure(workspace)?;
    let mut report = Report::default();
    let mut suite = |name: &str, mut command: Command| -> anyhow::Result<()> {
        exec::say(format!("testing {name}"));
        command.args(["test", "--workspace", "--no-fail-fast"]);
        report.run(name, command, filter)
    };
    suite("the engine", exec::cargo(&workspace.root))?;
    for folder in workspace.guests() {
        let mut command = exec::cargo(&folder);
        command.env("CARGO_TARGET_DIR", workspace.guests_target());
        let name = folder.strip_prefix(&workspace.root).unwrap_or(&folder);
        suite(&name.display().to_string(), command)?;
    }
    if let Err(error) = on_kubernetes(workspace, filter, &mut report) {
        report.trouble(format!("the suite {KUBERNETES}: {error:#}"));
    }
    report.finish();
    Ok(report)
}

/// The suite that needs a control plane. No other does, so the control plane runs only as long as this one.
const KUBERNETES: &str = "kubernetes";

fn on_kubernetes(
    workspace: &Workspace,
    filter: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    let go = match Go::find(workspace) {
        Ok(go) => go,
        Err(why) => {
            let ci = env::var("CI").is_ok_and(|ci| ci == "true");
            report.left_out.push(without_go(&why, ci)?);
            return Ok(());
        }
    };
    // The suite starts the program itself. It is built as for the program's own suite: a build without tests chooses
    // other features of dependencies, and takes minutes.
    let mut program = exec::cargo(&workspace.root);
    program.args(["test", "--workspace", "--no-run", "--test", "cli"]);
    exec::run(&mut program)?;
    let mut list = on_cluster(workspace);
    list.args(["--", "--list"]).args(filter);
    if !exec::output(&mut list)?.lines().any(is_listed) {
        return Ok(());
    }
    let folder = workspace.target.join("test-cluster");
    let cluster = Cluster::up(workspace, &go, folder.clone())?;
    exec::say(format!("testing {KUBERNETES}"));
    let mut command = on_cluster(workspace);
    command
        .env("PHASEGATE_CLUSTER", cluster.folder())
        // The tests wait for pods and soaks most of the time.
        .env("RUST_TEST_THREADS", "6");
    let result = report.run(KUBERNETES, command, filter);
    // Neither of two failures hides the other.
    match (result, cluster::down(&folder)) {
        (Err(error), Err(more)) => Err(error.context(format!("and then: {more:#}"))),
        (result, down) => result.and(down),
    }
}

fn on_cluster(workspace: &Workspace) -> Command {
    let mut command = exec::cargo(&workspace.root);
    command
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(["--test", KUBERNETES])
        .args(["--features", "phasegate-tests/kubernetes"]);
    command
}

/// Whether a line of a test binary's list is a test.
fn is_listed(line: &str) -> bool {
    line.ends_with(": test")
}

/// Says which tests are left out; where everything is to be shown, nothing is.
fn without_go(why: &str, ci: bool) -> anyhow::Result<String> {
    if ci {
        bail!("{why}, and CI leaves nothing out");
    }
    Ok(format!(
        "every test of tests/{KUBERNETES}.rs, which needs a control plane: {why}"
    ))
}

/// Hands the output on as it comes, and counts meanwhile.
fn stream(command: &mut Command, to: &mut dyn Write) -> anyhow::Result<(Counts, bool)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start `{}`", exec::shown(command)))?;
    let output = child.stdout.take().context("cargo has no output")?;
    let mut counts = Counts::default();
    // Tests may print anything, so lines are bytes until proven otherwise.
    for line in BufReader::new(output).split(b'\n') {
        let mut line = line?;
        if let Some(more) = Counts::from_line(&String::from_utf8_lossy(&line)) {
            counts += more;
        }
        line.push(b'\n');
        to.write_all(&line)?;
        to.flush()?;
    }
    Ok((counts, child.wait()?.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; \
                        3 filtered out; finished in 0.01s";
    const BAD: &str = "test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; \
                       0 filtered out; finished in 1.20s";

    #[test]
    fn the_lines_of_test_binaries_are_summed() {
        let mut sum = Counts::default();
        for line in ["running 12 tests", GOOD, "", BAD, "test result"] {
            if let Some(counts) = Counts::from_line(line) {
                sum += counts;
            }
        }
        assert_eq!(sum.to_string(), "13 passed, 4 failed, 2 skipped");
    }

    #[test]
    fn colour_does_not_hide_a_result_and_a_quotation_is_none() {
        let coloured = GOOD.replace("ok.", "\u{1b}[32mok\u{1b}[m.");
        assert_eq!(Counts::from_line(&coloured), Counts::from_line(GOOD));
        assert_eq!(Counts::from_line(&format!("    {GOOD}")), None);
    }

    #[test]
    fn nothing_skipped_is_not_mentioned() {
        let counts = Counts {
            passed: 3,
            ..Counts::default()
        };
        assert_eq!(counts.to_string(), "3 passed, 0 failed");
    }

    #[test]
    fn a_suite_that_did_not_compile_is_a_failure() {
        let mut report = Report::default();
        report.add("good", Counts::from_line(GOOD).unwrap(), true);
        report.add("broken", Counts::default(), false);
        report.finish();
        assert_eq!(report.counts.to_string(), "12 passed, 1 failed, 2 skipped");
        assert_eq!(report.troubles, ["failed: broken"]);
    }

    #[test]
    fn failed_tests_are_counted_once_and_no_tests_are_no_success() {
        let mut report = Report::default();
        report.add("bad", Counts::from_line(BAD).unwrap(), false);
        report.finish();
        assert_eq!(report.counts.failed, 4);

        let mut empty = Report::default();
        empty.add("filtered", Counts::default(), true);
        empty.finish();
        assert_eq!(empty.troubles, ["no test ran"]);
        assert_eq!(empty.counts.to_string(), "0 passed, 0 failed");
    }

    #[test]
    fn without_go_tests_are_left_out_aloud_and_in_ci_that_is_a_failure() {
        let why = "there is no Go on the PATH";
        let said = without_go(why, false).unwrap();
        assert!(
            said.contains("tests/kubernetes.rs") && said.contains(why),
            "{said}"
        );
        assert!(without_go(why, true).unwrap_err().to_string().contains(why));

        let mut report = Report::default();
        report.add("engine", Counts::from_line(GOOD).unwrap(), true);
        report.left_out.push(said);
        report.finish();
        assert!(report.troubles.is_empty());
    }

    #[test]
    fn output_is_counted_whatever_the_bytes() {
        let script = format!("printf '\\377\\n'; echo '{GOOD}'; printf '{BAD}'; exit 1");
        let mut copy = Vec::new();
        let (counts, succeeded) =
            stream(Command::new("sh").args(["-c", &script]), &mut copy).unwrap();
        assert!(!succeeded);
        assert_eq!(copy.split(|byte| *byte == b'\n').next(), Some(&[0xff][..]));
        assert_eq!((counts.passed, counts.failed), (13, 4));
    }
}
