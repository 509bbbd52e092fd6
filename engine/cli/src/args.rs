//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use phasegate_core::event::DriftAnswer;

use crate::console::{Colour, Format};

/// Takes a service from one version to the next, in phases and under gates; and back, whenever it must.
#[derive(Debug, Parser)]
#[command(
    name = "phasegate",
    version,
    after_help = "Exit codes: 0 succeeded, 1 failed and rolled back, 2 bad input, 3 refused before anything changed,\n4 rollback stuck, 5 waiting for people or interrupted, 6 stayed forward, 70 internal error.",
    after_long_help = include_str!("exit_codes.txt")
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Where runs are recorded: a directory, or `kubernetes:CONTEXT/NAMESPACE` for the journal in a cluster.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "PHASEGATE_STATE",
        default_value = "./.phasegate"
    )]
    pub state: PathBuf,
    /// How data is printed; live progress as JSON is one object a line.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Format,
    /// When colours are used; NO_COLOR is respected.
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: Colour,
    /// Print data and errors only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented release.yaml and scenario.yaml to begin with.
    Init(Init),
    /// Say what is wrong with release, policy and scenario files.
    Validate(Validate),
    /// Show what a run would do, and what is there now. Nothing is changed.
    Plan(Plan),
    /// Start a release and follow it to its end.
    Run(Run),
    /// Go on with a run that was interrupted, or that nobody drives.
    Resume(Resume),
    /// Drive a run of a cluster's journal to its end, as the pods of `run --in-cluster` do.
    Drive(Drive),
    /// Show where a run is, or all unfinished runs.
    Status(Which),
    /// Follow a run that another process drives.
    Watch(Which),
    /// Agree to a run's plan.
    Approve(Approve),
    /// Vouch for something that a run asks for.
    Attest(Attest),
    /// Stop forward steps. Gates go on, and may still roll back.
    Pause(Reasoned),
    /// Go on after a pause, or after somebody else changed the target.
    Continue(Continue),
    /// Go back to the old version, from wherever the run is.
    Abort(Reasoned),
    /// Try again what is stuck or what a gate could not answer.
    Retry(Driven),
    /// Leave out the compensation that is stuck, by its name.
    Skip(Skip),
    /// Take over by hand where the way back is stuck.
    HandOver(HandOver),
    /// Bring the old version back after a run succeeded.
    Rollback(Rollback),
    /// List runs, or print what happened in one.
    History(History),
    /// Make a report of a run: one HTML file, from its journal alone.
    Report(Report),
    /// Look at the lock on a target, or break it.
    Lock(Lock),
    /// List what is owed after runs, or say that it is done.
    Due(Due),
    /// Run a simulated cluster in the foreground, for `phasegate run` and kubectl.
    Simulate(Simulate),
    /// Run a release through a scenario in virtual time and print the transcript.
    Rehearse(Rehearse),
    /// Look at plugins.
    Plugin(Plugin),
    /// Print the JSON Schema of a kind of file.
    Schema(Schema),
    /// Explain the code of an error.
    Explain(Explain),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Check that everything an engine needs is there.
    Doctor(Doctor),
}

/// `phasegate doctor`
#[derive(Debug, Args)]
pub struct Doctor {
    /// A release whose cluster is to be looked at too.
    pub file: Option<String>,
    /// The environment of the release.
    #[arg(long, requires = "file", value_name = "E")]
    pub environment: Option<String>,
}

/// `phasegate init`
#[derive(Debug, Args)]
pub struct Init {
    /// Where to write the files.
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// The release's name.
    #[arg(long, default_value = "hello")]
    pub name: String,
}

/// `phasegate validate`
#[derive(Debug, Args)]
pub struct Validate {
    /// Release, policy and scenario files; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<String>,
    /// The version to check a release with.
    #[arg(long = "version", value_name = "V")]
    pub version: Option<String>,
    /// The environment to check a release for.
    #[arg(long, value_name = "E")]
    pub environment: Option<String>,
}

/// What a release is planned with.
#[derive(Clone, Debug, Default, Args)]
pub struct Inputs {
    /// The version to bring up, in place of the file's.
    #[arg(long = "version", value_name = "V")]
    pub version: Option<String>,
    /// The environment to deploy to, in place of the file's.
    #[arg(long, value_name = "E")]
    pub environment: Option<String>,
    /// The operator's policy.
    #[arg(long, value_name = "FILE", env = "PHASEGATE_POLICY")]
    pub policy: Option<String>,
}

/// `phasegate plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// The release.
    pub file: String,
    /// What it is planned with.
    #[command(flatten)]
    pub inputs: Inputs,
    /// Keep the plan for `phasegate run --plan`.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// How a command drives a run.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Driving {
    /// Leave with exit code 5 when only people can move the run on.
    #[arg(long)]
    pub no_wait: bool,
    /// What the first SIGINT or SIGTERM does.
    #[arg(long, value_enum, default_value = "leave", value_name = "WHAT")]
    pub on_cancel: OnCancel,
}

/// What a signal does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OnCancel {
    /// Leave the run as it is; `phasegate resume` goes on.
    #[default]
    Leave,
    /// Abort the run and see it back to the old version; for CI.
    Abort,
}

/// Who drives a run that isn't driven from here.
#[derive(Clone, Debug, Args)]
pub struct Away {
    /// Have a Job of the release's cluster drive the run, with its journal in the cluster, and follow it from here.
    ///
    /// The run goes on when this command ends. Its journal is named `kubernetes:CONTEXT/NAMESPACE`; with that as
    /// --state every command about runs works from anywhere.
    #[arg(long)]
    pub in_cluster: bool,
    /// The image that has this version of phasegate, for the Job.
    #[arg(long, value_name = "IMAGE", env = "PHASEGATE_IMAGE")]
    pub image: Option<String>,
    /// The account that the Job's pods have; it needs the rights that the run needs, and those of `in-cluster.yaml`.
    #[arg(long, value_name = "NAME", default_value = "phasegate")]
    pub service_account: String,
    /// The namespace of Job and journal, in place of the release's.
    #[arg(long, value_name = "NAMESPACE")]
    pub journal_namespace: Option<String>,
    /// The Secret that has the release's credentials: a key for each variable, and for each file by its name.
    #[arg(long, value_name = "SECRET")]
    pub credentials: Option<String>,
}

/// `phasegate drive`
#[derive(Debug, Args)]
pub struct Drive {
    /// The run, by its whole name.
    pub run: String,
}

/// `phasegate run`
#[derive(Debug, Args)]
pub struct Run {
    /// The release.
    pub file: String,
    /// What it is planned with.
    #[command(flatten)]
    pub inputs: Inputs,
    /// Run a plan that `phasegate plan --out` kept; refused where the facts it was made of have changed.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["version", "environment", "policy"])]
    pub plan: Option<String>,
    /// Take the place of the run that holds the target: it is brought back to the old version first.
    ///
    /// The run that holds the target goes back, by the engine that drives it or, where none does, by this command;
    /// then the target is handed over and this run begins anew, with its first step, by a plan of what is there
    /// then. Nobody else can take the target in between, and no approval of the old run counts. Refused past the
    /// old run's point of no return. Where its rollback is stuck this run doesn't begin; `phasegate resume` goes
    /// on once that was helped, as it does after this process was stopped. Where no run holds the target this one
    /// begins at once.
    #[arg(long)]
    pub supersede: bool,
    /// Write a report of the run when it is left, however it ends.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// How it is driven.
    #[command(flatten)]
    pub driving: Driving,
    /// By whom.
    #[command(flatten)]
    pub away: Away,
    /// Never ask. Nothing asks yet; scripts that pass it stay right.
    #[arg(long, short)]
    pub yes: bool,
}

/// `phasegate resume`
#[derive(Debug, Args)]
pub struct Resume {
    /// The run, or the beginning of its name; the only unfinished one if left out.
    pub run: Option<String>,
    /// How it is driven.
    #[command(flatten)]
    pub driving: Driving,
    /// By whom.
    #[command(flatten)]
    pub away: Away,
}

/// Names a run that is looked at.
#[derive(Debug, Args)]
pub struct Which {
    /// The run, or the beginning of its name; the only unfinished one if left out.
    pub run: Option<String>,
}

/// Names a run that is told something.
#[derive(Debug, Args)]
pub struct Driven {
    /// The run, or the beginning of its name; the only unfinished one if left out.
    pub run: Option<String>,
    /// How it is driven, if nobody drives it.
    #[command(flatten)]
    pub driving: Driving,
}

/// A command with a reason.
#[derive(Debug, Args)]
pub struct Reasoned {
    /// The run.
    #[command(flatten)]
    pub run: Driven,
    /// Why; it is kept in the journal.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `phasegate rollback`
#[derive(Debug, Args)]
pub struct Rollback {
    /// The run, or the beginning of its name. It has succeeded, so that it has to be named.
    pub run: String,
    /// How it is driven.
    #[command(flatten)]
    pub driving: Driving,
    /// Why; it is kept in the journal.
    #[arg(long)]
    pub reason: Option<String>,
}

/// `phasegate approve`
#[derive(Debug, Args)]
pub struct Approve {
    /// The run.
    #[command(flatten)]
    pub run: Driven,
    /// Agree to this requirement only, not to all that you may.
    #[arg(long, value_name = "NAME")]
    pub requirement: Option<String>,
    /// The plan that you have read, by its digest or at least as much of its beginning as `plan` shows; refused if the run's is another.
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
}

/// `phasegate attest`
#[derive(Debug, Args)]
pub struct Attest {
    /// The attestation's name, after the run's if that is given too.
    #[arg(required = true, num_args = 1..=2, value_name = "[RUN] NAME")]
    pub names: Vec<String>,
    /// What you vouch for, in your words.
    #[arg(long)]
    pub text: String,
    /// How the run is driven, if nobody drives it.
    #[command(flatten)]
    pub driving: Driving,
}

/// `phasegate continue`
#[derive(Debug, Args)]
pub struct Continue {
    /// The run.
    #[command(flatten)]
    pub run: Driven,
    /// What to do about a change that somebody else made.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub drift: Option<Drift>,
}

/// What to do about a change that somebody else made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Drift {
    /// Go on with what is there.
    Adopt,
    /// Write what the plan says once more.
    Force,
}

impl From<Drift> for DriftAnswer {
    fn from(drift: Drift) -> Self {
        match drift {
            Drift::Adopt => Self::Adopt,
            Drift::Force => Self::Force,
        }
    }
}

/// `phasegate skip`
#[derive(Debug, Args)]
pub struct Skip {
    /// The compensation's name, after the run's if that is given too.
    #[arg(required = true, num_args = 1..=2, value_name = "[RUN] STEP")]
    pub names: Vec<String>,
    /// How the run is driven, if nobody drives it.
    #[command(flatten)]
    pub driving: Driving,
}

/// `phasegate hand-over`
#[derive(Debug, Args)]
pub struct HandOver {
    /// The run.
    #[command(flatten)]
    pub run: Driven,
    /// Why; it is kept in the journal.
    #[arg(long)]
    pub reason: String,
}

/// `phasegate history`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct History {
    /// Check a journal.
    #[command(subcommand)]
    pub command: Option<HistoryCommand>,
    /// The run, or the beginning of its name; a list of all runs if left out.
    pub run: Option<String>,
    /// Print what its plugins logged instead. It is kept in `runs/RUN.plugins.log` of the state directory, up to 8 MiB, without what looks like a secret.
    #[arg(long, requires = "run")]
    pub plugins: bool,
}

/// A command about journals.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Take the journal of a run out of a cluster: one that is over and owes nothing.
    Forget(Forget),
    /// Recompute the chain of a run's records, or of every run's.
    Verify(Verified),
}

/// `phasegate history forget`
#[derive(Debug, Args)]
pub struct Forget {
    /// The run, or the beginning of its name; with --keep every run but the newest.
    #[arg(required_unless_present = "keep", conflicts_with = "keep")]
    pub run: Option<String>,
    /// Forget all runs that are over and owe nothing, but for so many of the newest.
    #[arg(long, value_name = "N")]
    pub keep: Option<usize>,
}

/// `phasegate history verify`
#[derive(Debug, Args)]
pub struct Verified {
    /// The run, or the beginning of its name; every run if left out.
    pub run: Option<String>,
}

/// `phasegate report`
#[derive(Debug, Args)]
pub struct Report {
    /// The run, or the beginning of its name.
    pub run: String,
    /// Where to write it, in place of standard output; what is there is replaced.
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
}

/// `phasegate lock`
#[derive(Debug, Args)]
pub struct Lock {
    /// What to do.
    #[command(subcommand)]
    pub command: LockCommand,
}

/// A command about locks.
#[derive(Debug, Subcommand)]
pub enum LockCommand {
    /// Show which run holds a target and which engine drives it.
    Show(LockTarget),
    /// Let go of a target that a dead run holds. Only if you know that nothing drives it.
    Break(LockBreak),
}

/// The target of a lock.
#[derive(Debug, Args)]
pub struct LockTarget {
    /// The target, as `status` names it (cluster/namespace/deployment), or a release file.
    pub target: String,
    /// The environment of the release file that is meant, in place of the file's.
    #[arg(long, value_name = "E")]
    pub environment: Option<String>,
}

/// `phasegate lock break`
#[derive(Debug, Args)]
pub struct LockBreak {
    /// The target, as `status` names it (cluster/namespace/deployment), or a release file.
    pub target: String,
    /// The environment of the release file that is meant, in place of the file's.
    #[arg(long, value_name = "E")]
    pub environment: Option<String>,
    /// Why; it is printed with what was broken.
    #[arg(long)]
    pub reason: String,
}

/// `phasegate due`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Due {
    /// Say that something is done.
    #[command(subcommand)]
    pub command: Option<DueCommand>,
    /// What is done already, too.
    #[arg(long)]
    pub all: bool,
}

/// A command about what is owed.
#[derive(Debug, Subcommand)]
pub enum DueCommand {
    /// Do what has become due and an engine can do: remove what was kept after a swap, and copies that only an old version needs.
    Meet,
    /// Say that something is done.
    Done(DueDone),
}

/// `phasegate due done`
#[derive(Debug, Args)]
pub struct DueDone {
    /// The run, or the beginning of its name.
    pub run: String,
    /// The obligation's number, as `due` lists it.
    pub number: u32,
}

/// `phasegate simulate`
#[derive(Clone, Debug, Args)]
pub struct Simulate {
    /// The address to listen at; port 0 takes a free one. It is printed.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// What the cluster holds and how it behaves.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<String>,
    /// How many times faster than the clock on the wall time passes, in place of the scenario's.
    #[arg(long, value_name = "N")]
    pub speed: Option<f64>,
    /// End after this long without a request, in real time: `30m`. Never, if left out.
    #[arg(long, value_name = "DURATION")]
    pub idle_timeout: Option<phasegate_core::time::Span>,
    /// What uids and names of pods follow from. They differ from process to process, if left out.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// `phasegate rehearse`
#[derive(Debug, Args)]
pub struct Rehearse {
    /// The release.
    pub release: String,
    /// What it is rehearsed with.
    #[command(flatten)]
    pub inputs: Inputs,
    /// What happens in the rehearsal; the release's own scenario if left out.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<String>,
    /// Everything random follows from it. The same seed gives the same transcript.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Try every point of failure, each by itself and again on every way back. Ends with 0 where nothing broke,
    /// however the runs ended, and with 1 where something did
    #[arg(long, conflicts_with = "report")]
    pub explore: bool,
    /// At most so many cases of an exploration; every kind of them is kept for as long as there is room.
    #[arg(long, value_name = "N", requires = "explore")]
    pub limit: Option<usize>,
    /// Let soaks of an exploration last as long as the release plans them. Without it they are shortened, if an
    /// undisturbed rehearsal comes to the same end then and passes the same calls and records in each step
    #[arg(long, requires = "explore")]
    pub full_soaks: bool,
    /// Write a report of the rehearsed run, however it ends.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `phasegate plugin`
#[derive(Debug, Args)]
pub struct Plugin {
    /// What to do.
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// A command about plugins.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins that ship with the engine.
    List,
    /// Show what a plugin offers and asks for, with the schemas of its configs.
    Inspect {
        /// A built-in plugin's name, or a component file.
        #[arg(value_name = "NAME|FILE")]
        plugin: String,
    },
}

/// `phasegate schema`
#[derive(Debug, Args)]
pub struct Schema {
    /// The kind of file.
    #[arg(value_enum)]
    pub kind: FileKind,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileKind {
    /// What to ship, where, in which phases, under which gates.
    Release,
    /// What an operator sets above every release.
    Policy,
    /// What a simulated cluster holds and how it behaves.
    Scenario,
}

/// `phasegate explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, for example PG0104; a list of all codes if left out.
    pub code: Option<String>,
}

/// `phasegate completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The reference of one command and of those below it, as Markdown.
    fn reference(command: &mut clap::Command, above: &str, out: &mut String) {
        let name = format!("{above} {}", command.get_name());
        let name = name.trim();
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ");
        let _ = writeln!(out, "\n## `{name}`\n\n{about}\n\n```text\n{usage}\n```\n");
        let mut arguments: Vec<_> = command
            .get_arguments()
            .filter(|a| {
                use clap::ArgAction::{Help, HelpLong, HelpShort, Version};
                !matches!(a.get_action(), Help | HelpLong | HelpShort | Version)
            })
            .filter(|a| above.is_empty() || !a.is_global_set())
            .collect();
        arguments.sort_by_key(|a| !a.is_positional());
        for argument in arguments {
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let _ = writeln!(out, "- `{argument}`: {help}");
        }
        for below in command.get_subcommands_mut() {
            if below.get_name() != "help" {
                reference(below, name, out);
            }
        }
    }

    /// `docs/cli.md` says what the command line takes. To write it anew:
    /// `PHASEGATE_UPDATE_DOCS=1 cargo test -p phasegate-cli --lib reference`.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the test compares a file of the repository"
    )]
    fn the_committed_reference_is_that_of_the_command_line() {
        let mut text = String::from(
            "# The command line\n\nGenerated from the program; a test compares. Data goes to standard output, everything else to standard\nerror. `--output json` prints data as JSON, and live progress as one JSON object a line.\n\nWhat is wrong is told with a code (`phasegate explain PG0131`), and with `--output json` as JSON too, arguments that\ncan't be read among it. `rehearse` ends with 0 where the scenario's expectations held and with 1 where one didn't; where\nthe scenario doesn't say how the run ends (`expect.end`), with what `run` would have ended with.\n\n",
        );
        text.push_str("| Exit code | Means |\n|---|---|\n");
        for (exit, means) in crate::exit::ALL {
            let _ = writeln!(text, "| {} | {means} |", exit.code());
        }
        let mut command = Cli::command();
        command.build();
        reference(&mut command, "", &mut text);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
        if std::env::var_os("PHASEGATE_UPDATE_DOCS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "docs/cli.md is not what the program takes; write it anew with PHASEGATE_UPDATE_DOCS=1"
        );
    }

    #[test]
    fn the_exit_codes_of_the_help_are_those_of_the_program() {
        let help = include_str!("exit_codes.txt");
        for (exit, means) in crate::exit::ALL {
            assert!(
                help.contains(&format!("{:>4}  {means}", exit.code())),
                "{means}"
            );
        }
    }
}
