//! A world that the tests control, and plugins to load into it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use phasegate_core::plan::Use;
use phasegate_core::strategy::Situation;
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::verdict::{Interval, Question, Side};
use phasegate_core::workload::Target;
use phasegate_host::{Host, HostConfig, HostPorts, Limits, PluginSet};
use phasegate_runtime::plugin_ports::{
    CompiledCache, CredentialError, CredentialHeader, Credentials, Grants, LogLine, LogSink, Secret,
};
use phasegate_runtime::ports::{
    Call, Clock, Component, Http, HttpError, HttpRequest, HttpResponse, ObjectError, ObjectRef,
    Objects, Seen, Writer,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// When the tests' world begins.
pub(crate) const START: u64 = 1_800_000_000_000;

/// The world: requests are recorded and answered as a test says.
#[derive(Default)]
pub(crate) struct World {
    now: AtomicU64,
    still: AtomicBool,
    pub(crate) requests: Mutex<Vec<HttpRequest>>,
    /// None hangs for ever.
    pub(crate) answer: Mutex<Option<Result<HttpResponse, HttpError>>>,
    pub(crate) objects: Mutex<BTreeMap<String, Vec<Value>>>,
    /// Which objects were removed, and as which they had been read.
    pub(crate) removals: Mutex<Vec<(String, Option<Seen>)>>,
    pub(crate) lines: Mutex<Vec<LogLine>>,
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        let world = Self::default();
        world.now.store(START, Ordering::SeqCst);
        *world.answer.lock().unwrap() = Some(Err(HttpError::Unreachable("nobody is there".into())));
        Arc::new(world)
    }

    pub(crate) fn answers(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = Some(Ok(HttpResponse {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            truncated: false,
            took: Span::from_millis(5),
        }));
    }

    /// From now on time stands still.
    pub(crate) fn waiting(self: Arc<Self>) -> Arc<Self> {
        self.still.store(true, Ordering::SeqCst);
        self
    }

    pub(crate) fn hangs(&self) {
        *self.answer.lock().unwrap() = None;
    }

    pub(crate) fn host(self: &Arc<Self>, config: HostConfig) -> Arc<Host> {
        let ports = HostPorts {
            http: self.clone(),
            objects: self.clone(),
            clock: self.clone(),
            log: self.clone(),
            credentials: self.clone(),
        };
        Host::new(config, ports).unwrap()
    }

    /// One plugin with these limits, without any grant.
    pub(crate) fn load(self: &Arc<Self>, component: Component, limits: Limits) -> PluginSet {
        self.host(settings(limits))
            .load(vec![component], Grants::default())
    }
}

#[async_trait]
impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    /// Time passes at once when somebody has nothing to do but wait.
    async fn sleep_until(&self, at: Timestamp) {
        if self.still.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.now.fetch_max(at.as_millis(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Http for World {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.requests.lock().unwrap().push(request);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Objects for World {
    async fn get(&self, object: &ObjectRef) -> Result<Value, ObjectError> {
        let objects = self.objects.lock().unwrap();
        let of_kind = objects.get(&object.kind).ok_or(ObjectError::NotFound)?;
        of_kind
            .iter()
            .find(|o| o["metadata"]["name"] == object.name.as_str())
            .cloned()
            .ok_or(ObjectError::NotFound)
    }

    async fn find(
        &self,
        _api_version: &str,
        kind: &str,
        _namespace: Option<&str>,
        _label_selector: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>, ObjectError> {
        let objects = self.objects.lock().unwrap();
        let found = objects.get(kind).into_iter().flatten();
        Ok(found.take(limit).cloned().collect())
    }

    async fn apply(&self, _writer: &Writer, object: &Value) -> Result<Value, ObjectError> {
        Ok(object.clone())
    }

    async fn patch(
        &self,
        _writer: &Writer,
        object: &ObjectRef,
        _merge: &Value,
    ) -> Result<Value, ObjectError> {
        self.get(object).await
    }

    async fn remove(
        &self,
        _writer: &Writer,
        object: &ObjectRef,
        seen: Option<&Seen>,
    ) -> Result<(), ObjectError> {
        let removal = (object.name.clone(), seen.cloned());
        self.removals.lock().unwrap().push(removal);
        Ok(())
    }
}

impl LogSink for World {
    fn write(&self, line: LogLine) {
        self.lines.lock().unwrap().push(line);
    }
}

#[async_trait]
impl Credentials for World {
    async fn header(
        &self,
        name: &str,
        authority: &str,
    ) -> Result<CredentialHeader, CredentialError> {
        if name != "token" {
            return Err(CredentialError::Unknown(name.into()));
        }
        if authority != "shop.example:443" {
            return Err(CredentialError::NotFor {
                name: name.into(),
                authority: authority.into(),
            });
        }
        Ok(CredentialHeader {
            name: "authorization".into(),
            value: Secret::new("Bearer planted-secret"),
            secret: Secret::new("planted-secret"),
        })
    }

    async fn address(
        &self,
        name: &str,
        authority: &str,
    ) -> Result<Option<Secret>, CredentialError> {
        let holds = name == "hook" && authority == "shop.example:443";
        Ok(holds.then(|| Secret::new("https://shop.example/services/T0/B0/planted-secret")))
    }
}

/// These limits, in a world whose time passes at once when there is nothing to do: a plugin that
/// steps back for others would look like one that waits.
pub(crate) fn settings(limits: Limits) -> HostConfig {
    HostConfig {
        limits,
        yields: false,
        ..HostConfig::default()
    }
}

/// A cache in memory that counts, and that a test can damage.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) entries: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(crate) puts: AtomicU64,
}

impl CompiledCache for Memory {
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.entries.lock().unwrap().get(key).cloned()
    }

    fn put(&self, key: &str, entry: &[u8]) -> std::io::Result<()> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        self.entries
            .lock()
            .unwrap()
            .insert(key.into(), entry.into());
        Ok(())
    }
}

/// Bytes as a component of that name and source.
pub(crate) fn component(name: &str, source: &str, bytes: Vec<u8>) -> Component {
    let digest = Sha256::digest(&bytes);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Component {
        name: name.into(),
        source: source.into(),
        digest: format!("sha256:{hex}"),
        bytes: bytes.into(),
    }
}

/// A plugin that comes with the engine, as `cargo xtask plugins` built it.
pub(crate) fn built_in(name: &str) -> Component {
    let bytes = built("plugins", name);
    component(name, &format!("builtin:{name}"), bytes)
}

/// A plugin of the tests, as `cargo xtask plugins` built it.
pub(crate) fn fixture(name: &str) -> Component {
    let bytes = built("fixtures", name);
    component(name, &format!("path:{name}.wasm"), bytes)
}

fn built(folder: &str, name: &str) -> Vec<u8> {
    let plugins = std::env::var_os("PHASEGATE_PLUGINS").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../plugins"),
        PathBuf::from,
    );
    let file = plugins.join(format!("../{folder}/{name}.wasm"));
    read(&file).unwrap_or_else(|e| {
        panic!(
            "{}: {e}; build the plugins with `cargo xtask plugins`, or say where they are with PHASEGATE_PLUGINS",
            file.display()
        )
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test reads a plugin that the build made"
)]
fn read(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    std::fs::read(file)
}

/// An offer of the plugin of the same name.
pub(crate) fn using(plugin: &str, config: Value) -> Use {
    Use {
        plugin: plugin.into(),
        offer: plugin.into(),
        config,
    }
}

pub(crate) fn call() -> Call {
    Call {
        run: "r-1".into(),
        name: "shop".into(),
        version: "1.4.1".into(),
        previous_version: Some("1.4.0".into()),
        environment: "production".into(),
        change: "patch".into(),
        started_by: "alice".into(),
        key: "r-1/deploy/gate".into(),
        target: Target {
            cluster: "simulated".into(),
            namespace: "shop".into(),
            workload: "shop".into(),
            deployment: "shop".into(),
            container: "web".into(),
            service: Some("shop".into()),
            config_maps: Vec::new(),
            secrets: Vec::new(),
            beside: None,
        },
        image: "registry.example/shop:1.4.1".into(),
        epoch: 1,
        slot: phasegate_core::strategy::Slot::Stable,
        deadline: Timestamp::from_millis(START + 120_000),
        attempt: 1,
    }
}

pub(crate) fn situation() -> Situation {
    Situation {
        workload: "shop".into(),
        replicas: 3,
        autoscaler: None,
        live: None,
        router: None,
        gates: vec!["pods".into()],
        actions: Vec::new(),
    }
}

pub(crate) fn question() -> Question {
    let at = Timestamp::from_millis(START);
    let interval = Interval {
        since: at,
        until: at,
    };
    let side = |version: &str| Side {
        version: version.into(),
        service: "shop".into(),
        labels: Vec::new(),
    };
    Question {
        window: interval,
        baseline: interval,
        candidate_weight: 10_000,
        candidate: side("1.4.1"),
        stable: side("1.4.0"),
        evaluation: 0,
        memory: None,
    }
}

/// A Deployment and its pods, rolled out and ready.
pub(crate) fn healthy_workload(world: &World) {
    let labels = json!({"app": "shop"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "shop", "generation": 2},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}},
        "status": {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "shop-1", "namespace": "shop", "labels": labels},
        "spec": {"containers": [{"name": "web", "image": "registry.example/shop:1.4.1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "web", "image": "registry.example/shop:1.4.1", "ready": true,
                "restartCount": 0, "state": {"running": {}},
            }],
        },
    });
    let mut objects = world.objects.lock().unwrap();
    objects.insert("Deployment".into(), vec![deployment]);
    objects.insert("Pod".into(), vec![pod]);
}
