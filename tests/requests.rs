//! What a canary costs the API server, and how much longer it takes than it is told to wait: the engine beside a script
//! of `kubectl` commands that does the same steps. `cargo xtask bench requests`; how to read it: docs/benchmarks.md.
//!
//! Every request is counted by the server's own audit log, by the account that made it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what can't be measured ends the program"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures real time and starts kubectl and phasegate"
)]
#![allow(
    dead_code,
    reason = "the helpers of the suite on a cluster offer more than is needed here"
)]

#[path = "kubernetes/customers.rs"]
mod customers;
#[path = "kubernetes/desk.rs"]
mod desk;
#[path = "kubernetes/plane.rs"]
mod plane;
#[path = "bench/row.rs"]
mod row;
#[path = "kubernetes/space.rs"]
mod space;
#[path = "kubernetes/traffic.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::row::Row;
use crate::space::{Space, cluster};
use crate::traffic::CANARY;

/// The pauses of the release, and how long it waits after each of its four shifts of traffic.
const PAUSES: [u64; 3] = [2, 3, 2];
const SETTLE: Duration = Duration::from_secs(1);
const SHIFTS: u32 = 4;
/// How long the audit log may lag behind.
const LOGGED: Duration = Duration::from_secs(2);

/// What one canary came to.
struct Cost {
    /// Requests by verb.
    verbs: BTreeMap<String, f64>,
    seconds: f64,
    turned_away: f64,
}

/// Plays a canary of the workload `shop` as an account with these rights, under the eyes of customers. Before that caches
/// are warmed: those of plugins, or of what kinds of objects there are.
fn measured(
    name: &str,
    rights: impl FnOnce(&Space) -> Desk,
    warm: impl FnOnce(&Desk, &Script),
    play: impl FnOnce(&Desk, &Script),
) -> Cost {
    let space = Space::new(name);
    traffic::workload(&space, "shop", None);
    traffic::route(&space);
    let desk = rights(&space);
    traffic::write(&desk, &space, CANARY, "3s");
    let admin = Desk::admin(&space);
    let plane = Plane::new(admin.kubeconfig(), &space.name, Door::Route("shop"));
    let script = Script::new(&desk, &space);
    warm(&desk, &script);
    thread::sleep(LOGGED);
    let before = requests(&space);
    let begun = Instant::now();
    play(&desk, &script);
    let seconds = begun.elapsed().as_secs_f64();
    thread::sleep(LOGGED);
    let mut verbs = requests(&space);
    for (verb, earlier) in before {
        *verbs.entry(verb).or_default() -= earlier;
    }
    let tally = plane.end();
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    space.only(&["shop"]);
    #[expect(clippy::cast_precision_loss, reason = "few are turned away")]
    let turned_away = tally.failures as f64;
    Cost {
        verbs,
        seconds,
        turned_away,
    }
}

/// What the space's account has asked for so far, by verb. A watch is one request, however long it lasts.
fn requests(space: &Space) -> BTreeMap<String, f64> {
    let account = format!("system:serviceaccount:{}:deployer", space.name);
    let mut asked = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for entry in fs::read_dir(cluster().join("logs")).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("audit")
        {
            continue;
        }
        let log = fs::read_to_string(path).unwrap();
        let own = log.lines().filter(|line| line.contains(&account));
        // One that isn't whole is being written.
        for entry in own.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let mine = entry["user"]["username"] == account.as_str();
            if mine && seen.insert(entry["auditID"].to_string()) {
                let resource = entry["objectRef"]["resource"].as_str().unwrap_or_default();
                let verb = match entry["verb"].as_str().unwrap_or_default() {
                    _ if resource.ends_with("reviews") => "review",
                    verb => verb,
                };
                *asked.entry(verb.to_owned()).or_default() += 1.0;
            }
        }
    }
    asked
}

/// `kubectl`, as somebody would call it from a script.
struct Script {
    kubeconfig: PathBuf,
    namespace: String,
    cache: tempfile::TempDir,
}

impl Script {
    fn new(desk: &Desk, space: &Space) -> Self {
        Self {
            namespace: space.name.clone(),
            kubeconfig: desk.kubeconfig().to_owned(),
            cache: tempfile::tempdir().unwrap(),
        }
    }

    fn run(&self, arguments: &[&str], input: Option<&Value>) -> String {
        let mut child = Command::new(cluster().join("kubectl"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.cache.path())
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        if let Some(input) = input {
            stdin.write_all(input.to_string().as_bytes()).unwrap();
        }
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn read(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments, None)).unwrap()
    }

    /// The version that is to serve gets a Deployment and a Service of its own.
    fn candidate(&self) {
        let shop = self.read(&["get", "deployment", "shop", "-o", "json"]);
        let labels = json!({"app": "shop-candidate"});
        let mut spec = shop["spec"].clone();
        spec["replicas"] = json!(1);
        spec["selector"]["matchLabels"] = labels.clone();
        spec["template"]["metadata"]["labels"] = labels.clone();
        spec["template"]["spec"]["containers"][0]["image"] = json!("registry.test/shop:2");
        let name = json!({"name": "shop-candidate"});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": name, "spec": spec,
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": name,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        let both = json!({"apiVersion": "v1", "kind": "List", "items": [service, deployment]});
        self.run(&["create", "-f", "-"], Some(&both));
    }

    fn rolled_out(&self, deployment: &str) {
        let name = format!("deployment/{deployment}");
        self.run(&["rollout", "status", &name, "--timeout=120s"], None);
    }

    /// Shares traffic, and waits until the data plane has taken it and for the time to settle.
    fn share(&self, candidate: u64) {
        let backend = |name: &str, weight| json!({"name": name, "port": 80, "weight": weight});
        let mut backends = vec![backend("shop", 100 - candidate)];
        if candidate > 0 {
            backends.push(backend("shop-candidate", candidate));
        }
        let patch = json!({"spec": {"rules": [{"backendRefs": backends}]}}).to_string();
        let patch = [
            "patch",
            "httproute",
            "shop",
            "--type=merge",
            "-o",
            "json",
            "-p",
            &patch,
        ];
        let generation = self.read(&patch)["metadata"]["generation"].clone();
        let path = "{.status.parents[0].conditions[0].observedGeneration}";
        let taken = format!("--for=jsonpath={path}={generation}");
        self.run(&["wait", "httproute/shop", &taken, "--timeout=60s"], None);
        thread::sleep(SETTLE);
    }

    /// Waits, and asks each second whether the candidate is well.
    fn pause(&self, seconds: u64) {
        let well = [
            "wait",
            "deployment/shop-candidate",
            "--for=condition=Available",
        ];
        for _ in 0..seconds {
            self.run(&well, None);
            thread::sleep(Duration::from_secs(1));
        }
    }

    fn canary(&self) {
        let [first, second, third] = PAUSES;
        self.candidate();
        self.rolled_out("shop-candidate");
        self.share(10);
        self.pause(first);
        for (replicas, share, pause) in [("2", 50, second), ("4", 100, third)] {
            let replicas = format!("--replicas={replicas}");
            self.run(&["scale", "deployment", "shop-candidate", &replicas], None);
            self.rolled_out("shop-candidate");
            self.share(share);
            self.pause(pause);
        }
        let image = "main=registry.test/shop:2";
        self.run(&["set", "image", "deployment/shop", image], None);
        self.rolled_out("shop");
        self.share(0);
        self.run(&["delete", "deployment", "shop-candidate"], None);
        self.run(&["delete", "service", "shop-candidate"], None);
    }
}

fn engine(name: &str, more: &[&str]) -> Cost {
    let roles = [&["in-place", "beside", "gateway-api"], more].concat();
    measured(
        name,
        |space| Desk::of(space, &roles),
        |desk, _| {
            desk.run(&["validate", "release.yaml"]).expect(0);
        },
        |desk, _| {
            desk.run(&["run", "release.yaml"]).expect(0);
        },
    )
}

fn script() -> Cost {
    let rights = |space: &Space| {
        let desk = Desk::of(space, &[]);
        let account = format!("--serviceaccount={}:deployer", space.name);
        let all = [
            "create",
            "rolebinding",
            "all",
            "--clusterrole=cluster-admin",
            &account,
        ];
        space.kubectl(&all);
        desk
    };
    let kinds = ["get", "deployments,services,httproutes"];
    measured(
        "requests-script",
        rights,
        |_, script| {
            script.run(&kinds, None);
        },
        |_, script| script.canary(),
    )
}

fn main() {
    let told = engine("requests-told", &["watching"]);
    let polls = engine("requests-polls", &[]);
    let script = script();
    let waits = PAUSES
        .iter()
        .map(|s| Duration::from_secs(*s))
        .sum::<Duration>()
        + SETTLE * SHIFTS;
    let of = |cost: &Cost, verbs: &[&str]| -> f64 {
        let counted = cost.verbs.iter();
        counted
            .filter(|(verb, _)| verbs.is_empty() || verbs.contains(&verb.as_str()))
            .map(|(_, times)| times)
            .fold(0.0, |sum, times| sum + times)
    };
    let beyond = |cost: &Cost| cost.seconds - waits.as_secs_f64();
    // What the peer never does is no measure.
    let row = |name: &str, engine: f64, script: f64, unit| match script > 0.0 {
        true => Row::new(name, engine, unit).beside("kubectl", script),
        false => Row::new(format!("{name}, kubectl none"), engine, unit),
    };
    let title = format!(
        "API requests of a canary with {} s of waits",
        waits.as_secs()
    );
    let mut rows = vec![row(&title, of(&told, &[]), of(&script, &[]), "")];
    for (name, verbs) in [
        ("of these, to read", ["get", "list"].as_slice()),
        ("to watch", &["watch"]),
        (
            "to change something",
            &["create", "update", "patch", "delete", "deletecollection"],
        ),
        ("about its rights", &["review"]),
    ] {
        rows.push(row(name, of(&told, verbs), of(&script, verbs), ""));
    }
    let title = "all, without the right to watch";
    rows.push(row(title, of(&polls, &[]), of(&script, &[]), ""));
    let title = "time beyond the waits";
    rows.push(row(title, beyond(&told), beyond(&script), "s"));
    let title = "the same without the right to watch";
    rows.push(row(title, beyond(&polls), beyond(&script), "s"));
    let title = "customers turned away";
    rows.push(row(
        title,
        told.turned_away + polls.turned_away,
        script.turned_away,
        "",
    ));
    print!("{}", crate::row::table(&rows));
}
