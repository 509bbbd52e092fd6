//! `phasegate:host/log`: lines for the run's log, bounded in number and length.

use phasegate_core::verdict::Pair;
use phasegate_runtime::plugin_ports::{Level, LogLine};

use crate::bindings::phasegate::host::log as wit;
use crate::bindings::phasegate::types::common;
use crate::fault::cut_to;
use crate::limits::LOG_FIELDS;
use crate::state::State;

impl wit::Host for State {
    async fn write(
        &mut self,
        level: wit::Level,
        message: String,
        fields: Vec<common::Pair>,
    ) -> wasmtime::Result<()> {
        // Kept whether or not the line is: it may be the reason for a trap that follows.
        if matches!(level, wit::Level::Error) {
            self.last_error = Some(cut_to(message.clone(), self.limits.log_line_bytes));
        }
        let most = self.limits.log_lines;
        if self.log_lines > most {
            return Ok(());
        }
        self.log_lines += 1;
        if self.log_lines > most {
            let note = format!("further lines of this call are left out; {most} are kept");
            self.log(Level::Warn, note, Vec::new());
            return Ok(());
        }
        let line_bytes = self.limits.log_line_bytes;
        let mut left = line_bytes.saturating_sub(message.len());
        let mut kept = Vec::new();
        for field in fields.into_iter().take(LOG_FIELDS) {
            let pair = Pair::new(cut_to(field.name, left), cut_to(field.value, left));
            left = left.saturating_sub(pair.name.len() + pair.value.len());
            kept.push(pair);
        }
        let level = match level {
            wit::Level::Debug => Level::Debug,
            wit::Level::Info => Level::Info,
            wit::Level::Warn => Level::Warn,
            wit::Level::Error => Level::Error,
        };
        self.log(level, cut_to(message, line_bytes), kept);
        Ok(())
    }
}

impl State {
    fn log(&self, level: Level, message: String, fields: Vec<Pair>) {
        self.ports.log.write(LogLine {
            plugin: self.scope.plugin.to_string(),
            key: self.scope.key.clone(),
            level,
            message,
            fields,
        });
    }
}
