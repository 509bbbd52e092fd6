//! A namespace of its own for a test, reached with kubectl.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How often it is looked whether something has come about, and how long is waited in between.
const LOOKS: u32 = 600;
const BETWEEN: Duration = Duration::from_millis(200);
/// How long kubectl waits for an answer: longer than any condition that a test waits for with it.
const REQUEST_LIMIT: &str = "--request-timeout=240s";

/// Tests share the cluster; one that takes it apart has it for itself.
static SHARED: RwLock<()> = RwLock::new(());

/// What a test holds of the cluster.
enum Part {
    Some {
        _held: RwLockReadGuard<'static, ()>,
    },
    All {
        _held: RwLockWriteGuard<'static, ()>,
    },
}

/// A namespace; it goes with the value.
pub(crate) struct Space {
    pub(crate) name: String,
    _part: Part,
}

impl Drop for Space {
    fn drop(&mut self) {
        // The cluster is thrown away in the end; a failed test must not hide behind this.
        let _ = self.run(&["delete", "namespace", &self.name, "--wait=false"], None);
    }
}

/// The folder of the cluster that xtask started.
pub(crate) fn cluster() -> PathBuf {
    std::env::var_os("PHASEGATE_CLUSTER").map_or_else(
        || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../cluster"),
        PathBuf::from,
    )
}

impl Space {
    /// Makes the namespace and waits until pods may be made in it.
    pub(crate) fn new(name: &str) -> Self {
        // A test that failed with the lock leaves no state behind it.
        let held = SHARED.read().unwrap_or_else(PoisonError::into_inner);
        Self::with(name, Part::Some { _held: held })
    }

    /// A namespace on a cluster that no other test uses meanwhile.
    pub(crate) fn alone(name: &str) -> Self {
        let held = SHARED.write().unwrap_or_else(PoisonError::into_inner);
        Self::with(name, Part::All { _held: held })
    }

    fn with(name: &str, part: Part) -> Self {
        let name = format!("{name}-{}", std::process::id());
        let space = Self { name, _part: part };
        space.kubectl(&["create", "namespace", &space.name]);
        space.until("the namespace has its service account", || {
            space.run(&["get", "serviceaccount", "default"], None).ok()
        });
        space
    }

    /// Calls kubectl in the namespace; stdout, or what it complains about.
    pub(crate) fn run(&self, arguments: &[&str], input: Option<&Value>) -> Result<String, String> {
        let folder = cluster();
        let config = folder.join("kubeconfig");
        assert!(
            config.is_file(),
            "there is no cluster in {}; run `cargo xtask cluster up`, or say where it is with PHASEGATE_CLUSTER",
            folder.display()
        );
        let mut child = Command::new(folder.join("kubectl"))
            .arg("--kubeconfig")
            .arg(config)
            .arg("--cache-dir")
            .arg(folder.join("kubectl-cache"))
            .args(["--namespace", &self.name])
            .arg(REQUEST_LIMIT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if let Some(input) = input {
            stdin.write_all(input.to_string().as_bytes()).unwrap();
        }
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    /// Makes one of the published roles, and binds it to an account, `NAMESPACE:NAME`.
    pub(crate) fn binds(&self, role: &str, account: &str) {
        let manifest = format!("{}/../deploy/rbac/{role}.yaml", env!("CARGO_MANIFEST_DIR"));
        self.kubectl(&["apply", "-f", &manifest]);
        let (bound, account) = (
            format!("--role=phasegate-{role}"),
            format!("--serviceaccount={account}"),
        );
        let name = format!("engine-{role}");
        self.kubectl(&["create", "rolebinding", &name, &bound, &account]);
    }

    /// Calls kubectl, which must succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.run(arguments, None)
            .unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// The Deployment `shop` gets another version.
    pub(crate) fn ships(&self, version: &str) {
        let image = format!("main=registry.test/shop:{version}");
        self.kubectl(&["set", "image", "deployment/shop", &image]);
    }

    /// Applies an object; the error is what the server says.
    pub(crate) fn apply(&self, object: &Value) -> Result<String, String> {
        self.run(&["apply", "--server-side", "-f", "-"], Some(object))
    }

    pub(crate) fn get(&self, what: &[&str]) -> Value {
        let arguments = [&["get", "-o", "json"], what].concat();
        serde_json::from_str(&self.kubectl(&arguments)).unwrap()
    }

    /// The image of a Deployment's first container.
    pub(crate) fn image(&self, deployment: &str) -> String {
        let found = self.get(&["deployment", deployment]);
        let image = &found["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().to_owned()
    }

    /// These are the Deployments and Services that there are, but for the candidate's Service nothing is left behind.
    #[track_caller]
    pub(crate) fn only(&self, deployments: &[&str]) {
        let names = |kind: &str| -> Vec<String> {
            let list = self.get(&[kind]);
            let items = list["items"].as_array().unwrap().iter();
            items
                .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names("deployments"), deployments);
        assert_eq!(names("services"), ["shop"]);
        let claims = names("configmaps").join(" ");
        assert!(!claims.contains("phasegate-claim"), "{claims}");
    }

    /// What the server was asked about this namespace, and answered.
    pub(crate) fn audited(&self) -> Vec<Value> {
        // A long one is put aside, and goes on in a new file.
        let mut log = String::new();
        for entry in fs::read_dir(cluster().join("logs")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("audit") {
                log.push_str(&fs::read_to_string(path).unwrap());
            }
        }
        let mine = log.lines().filter(|line| line.contains(&self.name));
        // One that isn't whole is being written.
        mine.filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|entry| entry["stage"] == "ResponseComplete")
            .filter(|entry| entry["objectRef"]["namespace"] == self.name.as_str())
            .collect()
    }

    /// The pods there are, those that are being deleted too.
    pub(crate) fn pods(&self) -> Vec<Value> {
        let list = self.get(&["pods"]);
        list["items"].as_array().unwrap().clone()
    }

    /// Waits until there is an answer.
    pub(crate) fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = look() {
                return found;
            }
            thread::sleep(BETWEEN);
        }
        let state = self.run(&["get", "pods,jobs,deployments,events"], None);
        panic!(
            "it was waited in vain until {what}:\n{}",
            state.unwrap_or_else(|error| error)
        );
    }

    /// Waits for a pod whose first container waits for this reason.
    pub(crate) fn until_waits(&self, reason: &str) -> Value {
        self.until(&format!("a pod waits: {reason}"), || {
            let is_it = |pod: &Value| first(pod)["state"]["waiting"]["reason"] == reason;
            self.pods().into_iter().find(is_it)
        })
    }
}

/// What is said of a pod's first container.
pub(crate) fn first(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}

/// A Deployment whose pods are told how to behave.
pub(crate) fn deployment(name: &str, replicas: u32, image: &str, annotations: &Value) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0}},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

/// A Job of one try whose pod is told how to behave.
pub(crate) fn job(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{"name": "main", "image": "registry.test/job:1"}],
                },
            },
        },
    })
}
