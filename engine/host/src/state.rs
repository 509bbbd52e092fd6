//! What belongs to one call and ends with it.

use std::collections::HashMap;
use std::sync::Arc;

use phasegate_core::workload::Target;
use phasegate_runtime::plugin_ports::{Credentials, LogSink};
use phasegate_runtime::ports::{Clock, Http, ObjectRef, Objects, Seen, Stamp};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::limits::Limits;
use crate::meter::{Exchanges, Meter};
use crate::rights::Rights;
use crate::wasi::{Capture, Surroundings};

/// Most refusals that are kept of one call.
const MAX_DENIALS: usize = 4;

/// The world as plugins reach it, through the host's checks.
#[derive(Clone)]
pub struct HostPorts {
    /// Where requests go.
    pub http: Arc<dyn Http>,
    /// Where Kubernetes objects are.
    pub objects: Arc<dyn Objects>,
    /// Time, for deadlines and for the plugins' own clocks.
    pub clock: Arc<dyn Clock>,
    /// Where the plugins' log lines go.
    pub log: Arc<dyn LogSink>,
    /// Where credentials come from.
    pub credentials: Arc<dyn Credentials>,
}

/// What a call is about.
pub(crate) struct Scope {
    /// The plugin's name in the release.
    pub(crate) plugin: Arc<str>,
    /// The call's key; empty outside a run.
    pub(crate) key: String,
    /// The effect of a run that the call performs, for kinds that may write.
    pub(crate) effect: Option<(Target, Stamp)>,
}

/// The data of a store: one call's scope, rights, limits and handles.
pub(crate) struct State {
    pub(crate) scope: Scope,
    pub(crate) rights: Rights,
    pub(crate) ports: Arc<HostPorts>,
    pub(crate) limits: Limits,
    pub(crate) meter: Meter,
    pub(crate) exchanges: Exchanges,
    /// What the handles stand for that the plugin holds.
    pub(crate) table: ResourceTable,
    pub(crate) stderr: Capture,
    pub(crate) log_lines: u32,
    /// What it logged as an error last: a panic's text, where the language has no standard error.
    pub(crate) last_error: Option<String>,
    /// The objects that this call has read, and in which version.
    pub(crate) seen: HashMap<ObjectRef, Seen>,
    denials: Vec<String>,
    surroundings: Surroundings,
    // Most plugins never touch WASI; making this costs more than the rest of a call's set-up.
    wasi: Option<Box<WasiCtx>>,
}

impl State {
    pub(crate) fn new(
        scope: Scope,
        rights: Rights,
        ports: Arc<HostPorts>,
        limits: Limits,
        surroundings: Surroundings,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            scope,
            rights,
            ports,
            limits,
            meter: Meter::new(limits),
            exchanges: Exchanges::new(limits.exchanges),
            table,
            stderr: Capture::new(limits.stderr_bytes),
            log_lines: 0,
            last_error: None,
            seen: HashMap::new(),
            denials: Vec::new(),
            surroundings,
            wasi: None,
        }
    }

    /// Keeps a refusal, so that a call that fails for it says so.
    pub(crate) fn deny(&mut self, text: String) -> String {
        if self.denials.len() < MAX_DENIALS {
            self.denials.push(text.clone());
        }
        text
    }

    /// The first refusal of this call.
    pub(crate) fn denial(&self) -> Option<&str> {
        self.denials.first().map(String::as_str)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Self {
            wasi,
            surroundings,
            stderr,
            table,
            ..
        } = self;
        let ctx = wasi.get_or_insert_with(|| Box::new(surroundings.context(stderr)));
        WasiCtxView { ctx, table }
    }
}
