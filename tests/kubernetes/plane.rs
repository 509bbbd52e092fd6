//! What a cluster of processes alone doesn't have: servers behind the pods, a data plane that leads to them with a
//! delay, and customers who notice when it doesn't.
//!
//! A pod's server answers as long as the pod's first container runs, with 503 while the pod isn't ready. The data
//! plane follows EndpointSlices and the weights of HTTPRoutes, later than they change, and says so in a route's status, as
//! a gateway's controller does. Customers send one request after the other, and all that is no 200 is a failure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::customers::{CUSTOMERS, MOST_TOLD, Tally, customer};
use crate::desk::client;

/// How much later than the cluster says does the data plane lead elsewhere.
const DELAY: Duration = Duration::from_millis(300);
/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Where customers come in.
#[derive(Clone, Copy)]
pub(crate) enum Door {
    Service(&'static str),
    Route(&'static str),
}

/// The data plane at work. It ends with the value.
pub(crate) struct Plane {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Plane {
    /// Starts it for a namespace, and waits until customers are served.
    pub(crate) fn new(kubeconfig: &Path, namespace: &str, door: Door) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let world = World {
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.to_owned(),
            door,
            stop: Arc::clone(&stop),
            tally: Arc::clone(&tally),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(world.run());
        });
        let plane = Self {
            stop,
            tally,
            thread: Some(thread),
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while plane.tally.lock().unwrap().answers.is_empty() {
            assert!(Instant::now() < deadline, "no customer is ever served");
            std::thread::sleep(LOOK);
        }
        plane
    }

    /// Ends it: what the customers got.
    pub(crate) fn end(mut self) -> Tally {
        self.join();
        std::mem::take(&mut *self.tally.lock().unwrap())
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A test that failed already says why.
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.join();
    }
}

struct World {
    kubeconfig: std::path::PathBuf,
    namespace: String,
    door: Door,
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
}

/// Where requests go: Services with their weights, and each one's pods that are ready.
#[derive(Clone, Default)]
pub(crate) struct View {
    pub(crate) weights: Vec<(String, u64)>,
    pub(crate) endpoints: BTreeMap<String, Vec<String>>,
    /// The route's generation, and where its status goes.
    route: Option<(String, u64)>,
}

/// The server of a pod.
pub(crate) struct Server {
    pub(crate) port: u16,
    ready: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) type Servers = Arc<Mutex<BTreeMap<String, Server>>>;

impl World {
    async fn run(self) {
        let client = client(&self.kubeconfig).await;
        let servers = Servers::default();
        let view = Arc::new(Mutex::new(View::default()));
        for seed in 1..=CUSTOMERS {
            tokio::spawn(customer(
                seed,
                Arc::clone(&view),
                Arc::clone(&servers),
                Arc::clone(&self.tally),
            ));
        }
        let mut seen = VecDeque::new();
        let mut before: Option<(BTreeSet<String>, View)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            // Whoever can't see the cluster goes on with what was seen last, as a data plane does.
            if let Some(pods) = self.list(&client, "/api/v1", "pods").await {
                behind(&servers, &pods).await;
                let ready: BTreeSet<String> = pods.iter().filter(is_ready).map(name).collect();
                if let Some((earlier, view)) = before.take() {
                    self.judge(&view, &earlier, &ready);
                }
                before = self.look(&client).await.map(|view| (ready, view));
            }
            if let Some((_, next)) = before.clone() {
                seen.push_back((Instant::now(), next));
            }
            while let Some((at, _)) = seen.front()
                && at.elapsed() >= DELAY
            {
                let Some((_, now)) = seen.pop_front() else {
                    break;
                };
                let changed = view.lock().unwrap().route != now.route;
                *view.lock().unwrap() = now.clone();
                if changed && let Some((name, generation)) = now.route {
                    self.accept(&client, &name, generation).await;
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Holds where traffic goes against the pods that were ready right before it was looked at, and right after.
    fn judge(&self, view: &View, before: &BTreeSet<String>, after: &BTreeSet<String>) {
        let mut tally = self.tally.lock().unwrap();
        tally.looks += 1;
        for (service, _) in view.weights.iter().filter(|(_, weight)| *weight > 0) {
            let pods = view.endpoints.get(service).cloned().unwrap_or_default();
            let unready = |pod: &&String| !before.contains(*pod) && !after.contains(*pod);
            let wrong = match (pods.is_empty(), pods.iter().find(unready)) {
                (true, _) => format!("nothing is ready behind {service}: {:?}", view.weights),
                (_, Some(pod)) => format!("{service} leads to {pod}, which is not ready"),
                _ => continue,
            };
            if tally.astray.len() < MOST_TOLD {
                tally.astray.push(wrong);
            }
        }
    }

    async fn list(&self, client: &kube::Client, api: &str, kind: &str) -> Option<Vec<Value>> {
        let uri = format!("{api}/namespaces/{}/{kind}", self.namespace);
        let request = Request::get(uri).body(Vec::new()).unwrap();
        let list: Value = client.request(request).await.ok()?;
        Some(list["items"].as_array().unwrap().clone())
    }

    async fn look(&self, client: &kube::Client) -> Option<View> {
        let mut view = View::default();
        let slices = "/apis/discovery.k8s.io/v1";
        for slice in self.list(client, slices, "endpointslices").await? {
            let service = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str();
            let endpoints = slice["endpoints"].as_array().cloned().unwrap_or_default();
            let ready = endpoints
                .iter()
                .filter(|endpoint| endpoint["conditions"]["ready"] == true)
                .filter_map(|endpoint| endpoint["targetRef"]["name"].as_str());
            let all = view.endpoints.entry(service.unwrap_or_default().to_owned());
            all.or_default().extend(ready.map(str::to_owned));
        }
        match self.door {
            Door::Service(name) => view.weights.push((name.to_owned(), 1)),
            Door::Route(name) => {
                let routes = "/apis/gateway.networking.k8s.io/v1";
                let routes = self.list(client, routes, "httproutes").await?;
                let route = routes.iter().find(|r| r["metadata"]["name"] == name)?;
                let backends = route["spec"]["rules"][0]["backendRefs"].as_array();
                for backend in backends.into_iter().flatten() {
                    let service = backend["name"].as_str().unwrap_or_default();
                    let weight = backend["weight"].as_u64().unwrap_or(1);
                    view.weights.push((service.to_owned(), weight));
                }
                let generation = route["metadata"]["generation"].as_u64().unwrap_or_default();
                view.route = Some((name.to_owned(), generation));
            }
        }
        Some(view)
    }

    /// Says in a route's status that it is followed.
    async fn accept(&self, client: &kube::Client, name: &str, generation: u64) {
        let condition = |kind: &str| {
            json!({
                "type": kind, "status": "True", "reason": kind, "message": "",
                "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        };
        let status = json!({"status": {"parents": [{
            "parentRef": {"name": "gateway"},
            "controllerName": "test.phasegate.dev/plane",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")],
        }]}});
        let uri = format!(
            "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes/{name}/status",
            self.namespace
        );
        let request = Request::patch(uri)
            .header("content-type", "application/merge-patch+json")
            .body(status.to_string().into_bytes())
            .unwrap();
        // One that is lost is written with the next change; the engine waits, and a test sees that.
        let _ = client.request::<Value>(request).await;
    }
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}

fn is_ready(pod: &&Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Starts servers for pods whose container runs, and stops those of pods whose container doesn't any more.
async fn behind(servers: &Servers, pods: &[Value]) {
    let runs = |pod: &&Value| pod["status"]["containerStatuses"][0]["state"]["running"].is_object();
    let running: BTreeMap<String, &Value> =
        pods.iter().filter(runs).map(|p| (name(p), p)).collect();
    servers
        .lock()
        .unwrap()
        .retain(|name, _| running.contains_key(name));
    for (name, pod) in running {
        let is_ready = is_ready(&pod);
        if let Some(server) = servers.lock().unwrap().get(&name) {
            server.ready.store(is_ready, Ordering::Relaxed);
            continue;
        }
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
        let version = image.rsplit(':').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ready = Arc::new(AtomicBool::new(is_ready));
        let task = tokio::spawn(serve(listener, version, Arc::clone(&ready))).abort_handle();
        let server = Server { port, ready, task };
        servers.lock().unwrap().insert(name, server);
    }
}

async fn serve(listener: TcpListener, version: String, ready: Arc<AtomicBool>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 256];
        // A customer who went away is no affair of the server's.
        let _ = stream.read(&mut request).await;
        let status = match ready.load(Ordering::Relaxed) {
            true => "200 OK",
            false => "503 Service Unavailable",
        };
        let _ = stream
            .write_all(format!("HTTP/1.0 {status}\r\n\r\n{version}").as_bytes())
            .await;
    }
}
