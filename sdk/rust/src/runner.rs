//! Tools, run where the operator says: on this machine, in a pod, or as a Job.

use crate::bindings::imports::phasegate::host::runner as wit;
use crate::{Duration, Error, Pair, host};

/// What a finished tool left behind.
pub use wit::Output;

/// How long a tool may take where the plugin says nothing.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(10);

/// A tool's call that is being put together. No shell is involved.
#[derive(Clone, Debug)]
#[must_use = "a command does nothing until it is run"]
pub struct Command(wit::Command);

impl Command {
    /// Begins a call. `name` tells it from the other calls of the same step: the same one never
    /// runs twice, and a finished one is reported again.
    pub fn new(name: impl Into<String>, program: impl Into<String>) -> Self {
        Self(wit::Command {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            secret_env: Vec::new(),
            stdin: None,
            timeout_ms: DEFAULT_TIMEOUT.as_millis(),
            save_stdout_as: None,
            name: name.into(),
        })
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.0.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.0.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.env.push(Pair::new(name, value));
        self
    }

    /// Has the engine set a variable from a credential. The plugin never sees its value.
    pub fn secret_env(mut self, name: impl Into<String>, credential: impl Into<String>) -> Self {
        self.0.secret_env.push(Pair::new(name, credential));
        self
    }

    /// What the tool reads on standard input.
    pub fn stdin(mut self, content: impl Into<Vec<u8>>) -> Self {
        self.0.stdin = Some(content.into());
        self
    }

    /// Replaces [`DEFAULT_TIMEOUT`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.timeout_ms = timeout.as_millis();
        self
    }

    /// Keeps standard output as an artifact of the run instead of returning it.
    pub fn save_stdout_as(mut self, artifact: impl Into<String>) -> Self {
        self.0.save_stdout_as = Some(artifact.into());
        self
    }

    /// Runs it, or reports what became of it. Any exit code is a result.
    ///
    /// # Errors
    ///
    /// [`Error::Pending`] while it runs: pass it up with `?` and the engine calls again. Otherwise
    /// the tool couldn't be run, or took too long.
    pub fn run(self) -> Result<Output, Error> {
        host::runner_run(&self.0).map_err(Error::from)
    }
}

/// Stops the call of this name, where it runs.
///
/// # Errors
///
/// It couldn't be stopped.
pub fn cancel(name: &str) -> Result<(), Error> {
    Ok(host::runner_cancel(name)?)
}

impl From<wit::RunnerError> for Error {
    fn from(error: wit::RunnerError) -> Self {
        match error {
            wit::RunnerError::Running(after) => Self::Pending(Duration::from_millis(after)),
            wit::RunnerError::Denied(text) => {
                Self::Permanent(format!("the tool is not granted: {text}"))
            }
            wit::RunnerError::NotFound(text) => {
                Self::Permanent(format!("the tool is missing: {text}"))
            }
            wit::RunnerError::TimedOut(output) => Self::Permanent(format!(
                "the tool took too long: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            wit::RunnerError::Unavailable(text) => {
                Self::retryable(format!("the tool can't be run now: {text}"))
            }
        }
    }
}
