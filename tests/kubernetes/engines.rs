//! The kubelet of engines: it runs the pods of `run --in-cluster`, which nothing else on this cluster could.
//!
//! A quota of a resource that no node has keeps them from being scheduled, so that they are nobody's but this one's. The
//! program is the one that was built, with the pod's arguments and variables, the token of its account and what
//! Kubernetes tells a pod of its cluster. What becomes of the process is said in the pod's status, and a pod that
//! is deleted loses its process: told to leave, or killed where the test says so.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::desk::client;
use crate::space::{Space, cluster};

/// How often the pods are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long an engine that was told to leave may take.
const GRACE: Duration = Duration::from_secs(6);
/// What keeps a pod from every node.
const NOWHERE: &str = "test.phasegate.dev/engine";
/// The account of the pods.
pub(crate) const ACCOUNT: &str = "phasegate";

/// What the engines met.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Whether the process of a deleted pod is killed at once, as on a node that is lost.
    hard: AtomicBool,
    /// Processes that were started, and pods.
    started: AtomicUsize,
    pods: AtomicUsize,
    /// The processes that run, by pods' names.
    running: Mutex<BTreeMap<String, Child>>,
}

/// The kubelet at work. It ends with the value, and the engines with it.
pub(crate) struct Engines {
    shared: Arc<Shared>,
    folder: Arc<tempfile::TempDir>,
    server: http::Uri,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Engines {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

/// What the pods of a workload ask for, so that they are scheduled all the same.
pub(crate) fn nothing() -> Value {
    json!({"requests": {NOWHERE: "0"}, "limits": {NOWHERE: "0"}})
}

impl Engines {
    /// Makes the account, and keeps its pods from every node.
    pub(crate) fn without_kubelet(space: &Space) {
        space.kubectl(&["create", "serviceaccount", ACCOUNT]);
        let nowhere = json!({
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "nowhere"},
            "spec": {"limits": [{
                "type": "Container", "default": {NOWHERE: "1"}, "defaultRequest": {NOWHERE: "1"},
            }]},
        });
        space.apply(&nowhere).unwrap();
    }

    /// Makes the account with these roles, and starts the kubelet.
    pub(crate) fn new(space: &Space, kubeconfig: &Path, roles: &[&str]) -> Self {
        Self::without_kubelet(space);
        for role in roles {
            space.binds(role, &format!("{}:{ACCOUNT}", space.name));
        }
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let token = space.kubectl(&["create", "token", ACCOUNT]);
        fs::write(folder.path().join("token"), token.trim()).unwrap();
        let authority = fs::read(cluster().join("certificates/apiserver.crt")).unwrap();
        fs::write(folder.path().join("ca.crt"), authority).unwrap();
        let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
        let server = config.clusters[0].cluster.as_ref().unwrap();
        let server: http::Uri = server.server.as_ref().unwrap().parse().unwrap();
        let shared = Arc::new(Shared::default());
        let kubelet = Kubelet {
            kubeconfig: kubeconfig.to_owned(),
            namespace: space.name.clone(),
            folder: Arc::clone(&folder),
            server: server.clone(),
            shared: Arc::clone(&shared),
            leaving: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(kubelet.run());
        });
        Self {
            shared,
            folder,
            server,
            thread: Some(thread),
        }
    }

    /// How many processes were started, and how many pods had one.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (count(&self.shared.started), count(&self.shared.pods))
    }

    /// Kills the processes that run; the kubelet starts them again in their pods.
    pub(crate) fn crash(&self) {
        for child in self.shared.running.lock().unwrap().values_mut() {
            // It may have ended already.
            let _ = child.kill();
        }
    }

    /// From now on the process of a deleted pod is killed without being told to leave, or told.
    pub(crate) fn hard(&self, hard: bool) {
        self.shared.hard.store(hard, Ordering::Relaxed);
    }

    /// Runs the program once, as a pod of the account would: what it says.
    pub(crate) fn once(&self, arguments: &[String]) -> String {
        let log = self.folder.path().join("once.log");
        let mut child = program(self.folder.path(), &self.server, arguments, &log)
            .spawn()
            .unwrap();
        let status = child.wait().unwrap();
        let said = fs::read_to_string(&log).unwrap();
        fs::remove_file(log).unwrap();
        assert!(status.success(), "{said}");
        said
    }

    /// What all engines wrote, for messages.
    pub(crate) fn said(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "log") {
                text.push_str(&format!("--- {}\n", path.display()));
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
        text
    }
}

struct Kubelet {
    kubeconfig: PathBuf,
    namespace: String,
    folder: Arc<tempfile::TempDir>,
    server: http::Uri,
    shared: Arc<Shared>,
    /// Pods whose process was told to leave, and when.
    leaving: BTreeMap<String, Instant>,
    /// How often the process of a pod was started.
    seen: BTreeMap<String, u32>,
}

impl Kubelet {
    async fn run(mut self) {
        let client = client(&self.kubeconfig).await;
        while !self.shared.stop.load(Ordering::Relaxed) {
            if let Some(pods) = self.pods(&client).await {
                self.stop_those_without(&pods);
                for pod in &pods {
                    self.sync(&client, pod).await;
                }
            }
            sleep(LOOK).await;
        }
        for (_, mut child) in std::mem::take(&mut *self.shared.running.lock().unwrap()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    async fn pods(&self, client: &kube::Client) -> Option<Vec<Value>> {
        let uri = format!(
            "/api/v1/namespaces/{}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dengine",
            self.namespace
        );
        let request = Request::get(uri).body(Vec::new()).unwrap();
        let list: Value = client.request(request).await.ok()?;
        list["items"].as_array().cloned()
    }

    /// Ends the processes whose pod is gone, or on its way out.
    fn stop_those_without(&mut self, pods: &[Value]) {
        let stays = |name: &str| {
            let mut stays = pods
                .iter()
                .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
            stays.any(|pod| pod["metadata"]["name"] == name)
        };
        let mut running = self.shared.running.lock().unwrap();
        let gone: Vec<String> = running
            .keys()
            .filter(|name| !stays(name))
            .cloned()
            .collect();
        for name in gone {
            let child = running.get_mut(&name).unwrap();
            let told = self.leaving.get(&name).copied();
            let late = told.is_some_and(|at| at.elapsed() > GRACE);
            if self.shared.hard.load(Ordering::Relaxed) || late {
                let _ = child.kill();
            } else if told.is_none() {
                let pid = child.id().to_string();
                Command::new("kill").args(["-TERM", &pid]).status().unwrap();
                self.leaving.insert(name.clone(), Instant::now());
            }
            if child.try_wait().unwrap().is_some() {
                running.remove(&name);
            }
        }
    }

    async fn sync(&mut self, client: &kube::Client, pod: &Value) {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        let over = matches!(phase, "Succeeded" | "Failed");
        if over || !pod["metadata"]["deletionTimestamp"].is_null() {
            return;
        }
        let ended = {
            let mut running = self.shared.running.lock().unwrap();
            let ended = running
                .get_mut(&name)
                .map(|child| child.try_wait().unwrap());
            if matches!(ended, Some(Some(_))) {
                running.remove(&name);
            }
            ended
        };
        match ended {
            Some(None) => return,
            Some(Some(status)) if status.success() => {
                let terminated = json!({"terminated": {
                    "exitCode": 0, "reason": "Completed",
                    "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01Z",
                }});
                self.says(client, pod, "Succeeded", terminated).await;
                return;
            }
            // Its restart policy is to start it again.
            Some(Some(_)) | None => {}
        }
        let child = self.start(pod, &name);
        self.shared
            .running
            .lock()
            .unwrap()
            .insert(name.clone(), child);
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        let times = self.seen.entry(name).or_default();
        *times += 1;
        if *times == 1 {
            self.shared.pods.fetch_add(1, Ordering::Relaxed);
        }
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        self.says(client, pod, "Running", running).await;
    }

    fn start(&self, pod: &Value, name: &str) -> Child {
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["command"], json!(["phasegate"]));
        let log = self.folder.path().join(format!("{name}.log"));
        let arguments: Vec<String> = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|argument| argument.as_str().unwrap().to_owned())
            .collect();
        let mut command = program(self.folder.path(), &self.server, &arguments, &log);
        for variable in container["env"].as_array().unwrap() {
            // Where plugins are compiled to is this machine's own.
            if variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.uid" {
                let uid = pod["metadata"]["uid"].as_str().unwrap();
                command.env(variable["name"].as_str().unwrap(), uid);
            }
        }
        command.spawn().unwrap()
    }

    /// Says in the pod's status what became of it.
    async fn says(&self, client: &kube::Client, pod: &Value, phase: &str, state: Value) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let container = &pod["spec"]["containers"][0];
        let restarts = self
            .seen
            .get(name)
            .map_or(0, |times| times.saturating_sub(1));
        let status = json!({"status": {
            "phase": phase,
            "containerStatuses": [{
                "name": "engine", "image": container["image"], "imageID": "", "state": state,
                "ready": phase == "Running", "restartCount": restarts,
            }],
        }});
        let uri = format!("/api/v1/namespaces/{}/pods/{name}/status", self.namespace);
        let request = Request::patch(uri)
            .header("content-type", "application/merge-patch+json")
            .body(status.to_string().into_bytes())
            .unwrap();
        // One that is gone needs no status.
        let _ = client.request::<Value>(request).await;
    }
}

/// The program as a pod's container has it.
fn program(folder: &Path, server: &http::Uri, arguments: &[String], log: &Path) -> Command {
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../debug/phasegate");
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .env("KUBERNETES_SERVICE_HOST", server.host().unwrap())
        .env(
            "KUBERNETES_SERVICE_PORT",
            server.port_u16().unwrap().to_string(),
        )
        .env("PHASEGATE_SERVICE_ACCOUNT", folder)
        .env("KUBECONFIG", "/nowhere")
        .env_remove("PHASEGATE_STATE")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}
