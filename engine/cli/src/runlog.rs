//! What plugins log: a file per run in the state directory, one JSON object a line.
//!
//! The lines aren't part of the journal: nothing follows from them, and what a plugin says must not make
//! a run's records grow. They are bounded, and what looks like a secret in them is hidden.

#![expect(
    clippy::disallowed_methods,
    reason = "what plugins log is kept in files of the state directory"
)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phasegate_core::diagnostic::{looks_secret, redacted};
use phasegate_core::time::Timestamp;
use phasegate_runtime::plugin_ports::{Level, LogLine, LogSink};
use phasegate_runtime::ports::Clock;
use phasegate_store::rights::Rights;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Most bytes of a run's file.
pub const MAX_BYTES: u64 = 8 << 20;
/// Most lines that are kept while a run is planned and has no name yet.
const MAX_WAITING: usize = 200;
/// What stands for a field's value that isn't shown.
const HIDDEN: &str = "(hidden)";

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// When, by the world's clock.
    pub time: Timestamp,
    /// The plugin's name in the release.
    pub plugin: String,
    /// How grave it is.
    pub level: Level,
    /// The text.
    pub message: String,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
    /// The key of the call, which the journal has too.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
}

/// Where the log of a run is.
#[must_use]
pub fn path(state: &Path, run: &str) -> PathBuf {
    state.join("runs").join(format!("{run}.plugins.log"))
}

/// Keeps what plugins log.
pub struct RunLog {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    path: Option<PathBuf>,
    file: Option<File>,
    bytes: u64,
    full: bool,
    waiting: Vec<Logged>,
}

impl RunLog {
    /// A log that waits until it is known which run it is of.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            inner: Mutex::default(),
        })
    }

    /// Writes to the file of this run, what was logged so far as well. The file is made with its first line.
    pub fn open(&self, state: &Path, run: &str) {
        let mut inner = self.inner();
        inner.path = Some(path(state, run));
        for line in std::mem::take(&mut inner.waiting) {
            inner.put(&line);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A holder that panicked left whole lines behind.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LogSink for RunLog {
    fn write(&self, line: LogLine) {
        let line = shown(line, self.clock.now());
        let mut inner = self.inner();
        if inner.path.is_some() {
            inner.put(&line);
        } else if inner.waiting.len() < MAX_WAITING {
            inner.waiting.push(line);
        }
    }
}

impl Inner {
    /// A run goes on without its log: what can't be written is lost.
    fn put(&mut self, line: &Logged) {
        if self.full {
            return;
        }
        if self.file.is_none() {
            let Some(file) = self.path.as_deref().and_then(opened) else {
                self.full = true;
                return;
            };
            self.bytes = file.metadata().map_or(0, |about| about.len());
            self.file = Some(file);
        }
        let Ok(mut text) = serde_json::to_string(line) else {
            return;
        };
        text.push('\n');
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if self.bytes.saturating_add(length) > MAX_BYTES {
            self.full = true;
            return;
        }
        let written = self
            .file
            .as_mut()
            .map(|file| file.write_all(text.as_bytes()));
        self.full = !matches!(written, Some(Ok(())));
        self.bytes = self.bytes.saturating_add(length);
    }
}

fn opened(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let file = options.open(path).ok()?;
    // What can't be shared is still written.
    let _ = Rights::within(path.parent()?).give(&file);
    Some(file)
}

fn shown(line: LogLine, time: Timestamp) -> Logged {
    let fields = line.fields.into_iter().map(|field| {
        let value = if looks_secret(&field.name) {
            HIDDEN.to_owned()
        } else {
            redacted(&field.value)
        };
        (field.name, Value::String(value))
    });
    Logged {
        time,
        plugin: line.plugin,
        level: line.level,
        message: redacted(&line.message),
        fields: fields.collect(),
        key: line.key,
    }
}

#[cfg(test)]
mod tests {
    use phasegate_core::verdict::Pair;
    use phasegate_world::clock::SystemClock;

    use super::*;

    fn line(message: &str) -> LogLine {
        LogLine {
            plugin: "errors".to_owned(),
            key: "r-1/x".to_owned(),
            level: Level::Warn,
            message: message.to_owned(),
            fields: vec![Pair::new("token", "abc"), Pair::new("url", "http://host/")],
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the test's own file")]
    fn lines(folder: &Path) -> Vec<Logged> {
        let text = std::fs::read_to_string(path(folder, "r-1")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn what_plugins_log_is_kept_without_what_looks_like_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        let log = RunLog::new(Arc::new(SystemClock));
        log.write(line("while it is planned"));
        log.open(folder.path(), "r-1");
        log.write(line("sent Bearer hunter2"));
        let kept = lines(folder.path());
        let messages: Vec<_> = kept.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(messages, ["while it is planned", "sent Bearer (hidden)"]);
        assert_eq!(kept[0].fields["token"], HIDDEN);
        assert_eq!(kept[0].fields["url"], "http://host/");
    }

    #[test]
    fn a_log_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("runs")).unwrap();
        let log = RunLog::new(Arc::new(SystemClock));
        for _ in 0..2 * MAX_WAITING {
            log.write(line("x"));
        }
        log.open(folder.path(), "r-1");
        assert_eq!(lines(folder.path()).len(), MAX_WAITING);
        let long = "x".repeat(1 << 20);
        for _ in 0..10 {
            log.write(line(&long));
        }
        let length = std::fs::metadata(path(folder.path(), "r-1")).unwrap().len();
        assert!(length <= MAX_BYTES && length > MAX_BYTES / 2, "{length}");
    }
}
