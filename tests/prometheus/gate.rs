//! The shipped gate in the real host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use phasegate_core::failure::Failure;
use phasegate_core::plan::Use;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Interval, Question, Side, Verdict};
use phasegate_core::workload::Target;
use phasegate_host::{Host, HostConfig, HostPorts, PluginSet};
use phasegate_runtime::plugin_ports::{Grants, LogLine, LogSink};
use phasegate_runtime::ports::{
    Call, Clock, Component, ObjectError, ObjectRef, Objects, Plugins, Seen, Writer,
};
use phasegate_world::clock::SystemClock;
use phasegate_world::credentials::{Credential, LocalCredentials, Source};
use phasegate_world::http::LiveHttp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::server::{LOGIN, Server};

/// How long traffic is where it is.
const SINCE_CHANGE: u64 = 60_000;
/// How long ago the run began.
const SINCE_START: u64 = 900_000;

/// The gate, asked about a version that serves beside 1.3.0.
#[derive(Clone)]
pub(crate) struct Gate {
    plugins: Arc<PluginSet>,
    version: String,
    pub(crate) url: String,
    started: u64,
    _secret: Arc<NamedTempFile>,
}

impl Gate {
    /// The gate that asks this server about 1.4.0.
    pub(crate) fn of(server: &Server) -> Self {
        let secret = NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), LOGIN).unwrap();
        let credential = Credential {
            source: Source::File(secret.path().to_owned()),
            authorities: vec![format!("127.0.0.1:{}", server.port)],
            secrets: Vec::new(),
            url: false,
            header: None,
            prefix: Some("Basic ".to_owned()),
        };
        let credentials = BTreeMap::from([("metrics".to_owned(), credential)]);
        let ports = HostPorts {
            http: Arc::new(LiveHttp::new(Arc::new(SystemClock))),
            objects: Arc::new(Nothing),
            clock: Arc::new(SystemClock),
            log: Arc::new(Nothing),
            credentials: Arc::new(LocalCredentials::new(credentials).unwrap()),
        };
        let host = Host::new(HostConfig::default(), ports).unwrap();
        Self {
            plugins: Arc::new(host.load(vec![component()], Grants::default())),
            version: "1.4.0".to_owned(),
            url: server.url(),
            started: server.now - SINCE_START,
            _secret: Arc::new(secret),
        }
    }

    /// The same, asked about another version.
    pub(crate) fn of_version(&self, version: &str) -> Self {
        Self {
            version: version.to_owned(),
            ..self.clone()
        }
    }

    /// Asks it with this config, which need not name the server.
    pub(crate) async fn judge(&self, mut config: Value) -> Result<Verdict, Failure> {
        if config.get("url").is_none() {
            config["url"] = json!(self.url);
        }
        let gate = Use {
            plugin: "prometheus".to_owned(),
            offer: "prometheus".to_owned(),
            config,
        };
        let problems = self.plugins.validate("gate", &gate).await.unwrap();
        assert_eq!(problems, [], "the config is a valid one");
        self.plugins
            .evaluate(&gate, &self.call(), &self.question())
            .await
    }

    fn question(&self) -> Question {
        let now = SystemClock.now().as_millis();
        let interval = |since: u64, until: u64| Interval {
            since: Timestamp::from_millis(since),
            until: Timestamp::from_millis(until),
        };
        let side = |version: &str| Side {
            version: version.to_owned(),
            service: "shop".to_owned(),
            labels: Vec::new(),
        };
        Question {
            window: interval(now - SINCE_CHANGE, now),
            baseline: interval(self.started - SINCE_CHANGE, self.started),
            candidate_weight: 5_000,
            candidate: side(&self.version),
            stable: side("1.3.0"),
            evaluation: 0,
            memory: None,
        }
    }

    fn call(&self) -> Call {
        Call {
            epoch: 0,
            slot: phasegate_core::strategy::Slot::Stable,
            run: "r-1".to_owned(),
            name: "shop".to_owned(),
            version: self.version.clone(),
            previous_version: Some("1.3.0".to_owned()),
            environment: "production".to_owned(),
            change: "minor".to_owned(),
            started_by: "ada".to_owned(),
            key: "r-1/canary/errors".to_owned(),
            target: Target {
                cluster: "simulated".to_owned(),
                namespace: "shop".to_owned(),
                workload: "shop".to_owned(),
                deployment: "shop".to_owned(),
                container: "web".to_owned(),
                service: Some("shop".to_owned()),
                config_maps: Vec::new(),
                secrets: Vec::new(),
                beside: None,
            },
            image: "registry.example/shop:1.4.0".to_owned(),
            deadline: SystemClock.now().plus(Span::from_secs(60)),
            attempt: 1,
        }
    }
}

/// The plugin as `cargo xtask plugins` built it.
fn component() -> Component {
    let folder = std::env::var_os("PHASEGATE_PLUGINS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../plugins"),
        PathBuf::from,
    );
    let file = folder.join("prometheus.wasm");
    let bytes = std::fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; build the plugins with `cargo xtask plugins`",
            file.display()
        )
    });
    let hex: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Component {
        name: "prometheus".to_owned(),
        source: "builtin:prometheus".to_owned(),
        digest: format!("sha256:{hex}"),
        bytes: bytes.into(),
    }
}

/// A cluster in which there is nothing, and a log that nobody reads.
struct Nothing;

impl LogSink for Nothing {
    fn write(&self, _: LogLine) {}
}

#[async_trait]
impl Objects for Nothing {
    async fn get(&self, _: &ObjectRef) -> Result<Value, ObjectError> {
        Err(ObjectError::NotFound)
    }

    async fn find(
        &self,
        _: &str,
        _: &str,
        _: Option<&str>,
        _: Option<&str>,
        _: usize,
    ) -> Result<Vec<Value>, ObjectError> {
        Ok(Vec::new())
    }

    async fn apply(&self, _: &Writer, _: &Value) -> Result<Value, ObjectError> {
        Err(ObjectError::NotFound)
    }

    async fn patch(&self, _: &Writer, _: &ObjectRef, _: &Value) -> Result<Value, ObjectError> {
        Err(ObjectError::NotFound)
    }

    async fn remove(&self, _: &Writer, _: &ObjectRef, _: Option<&Seen>) -> Result<(), ObjectError> {
        Err(ObjectError::NotFound)
    }
}
