//! The network of a story, on loopback: `http://TOWN/HOST/PATH` is what `http://HOST/PATH` is in the simulated world.
//!
//! A workload's Service is answered for by the version of a pod that is ready behind it; what the story's rules
//! say comes first, with figures over the time since the image was changed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use phasegate_core::time::{Span, Timestamp};
use phasegate_rehearsal::scenario::series::{self, Moment};
use phasegate_rehearsal::scenario::{HttpRule, Series};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::stage::fits;
use crate::space::cluster;

/// How long a request may take to come in.
const PATIENCE: Duration = Duration::from_secs(5);

/// It ends with the value.
pub(super) struct Town {
    pub(super) address: String,
    changed: Arc<OnceLock<Instant>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for the next who comes.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

struct Answers {
    kubeconfig: PathBuf,
    namespace: String,
    rules: Vec<HttpRule>,
    series: BTreeMap<String, Series>,
    start: Instant,
    changed: Arc<OnceLock<Instant>>,
}

fn part<T: DeserializeOwned + Default>(scenario: &Value, name: &str) -> T {
    match &scenario[name] {
        Value::Null => T::default(),
        part => serde_json::from_value(part.clone()).unwrap(),
    }
}

impl Town {
    pub(super) fn new(kubeconfig: &Path, namespace: &str, scenario: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Answers {
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.to_owned(),
            rules: part(scenario, "http"),
            series: part(scenario, "series"),
            start: Instant::now(),
            changed: Arc::default(),
        };
        let changed = Arc::clone(&answers.changed);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // Who went away gets no answer.
                let _ = answers.serve(stream);
            }
        });
        Self {
            address,
            changed,
            stop,
            thread: Some(thread),
        }
    }

    /// The image of the workload has been changed, now or before.
    pub(super) fn has_changed(&self) {
        // It counts from the first time.
        let _ = self.changed.set(Instant::now());
    }
}

impl Answers {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut request = Vec::new();
        let mut part = [0; 4096];
        while !whole(&request) {
            let count = stream.read(&mut part)?;
            if count == 0 {
                return Ok(());
            }
            request.extend_from_slice(&part[..count]);
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let mut words = text.split(' ');
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or("/").trim_start_matches('/');
        let (host, path) = target.split_once('/').unwrap_or((target, ""));
        let Some((status, body)) = self.answer(method, host, &format!("/{path}")) else {
            // The connection is cut.
            return Ok(());
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())
    }

    /// The status and the body; none where nothing is there.
    fn answer(&self, method: &str, host: &str, path: &str) -> Option<(u16, String)> {
        let service = host.split_once('.').map_or(host, |(service, _)| service);
        let version = host.ends_with(".svc").then(|| self.version(service));
        let version = version.flatten();
        let rule = self.rules.iter().find(|rule| {
            let is = |pattern: &Option<String>, value: &str| {
                pattern
                    .as_deref()
                    .is_none_or(|pattern| fits(pattern, value))
            };
            is(&rule.host, host)
                && is(&rule.path, path)
                && is(&rule.method, method)
                && (rule.version.is_none() || rule.version == version)
        });
        if let Some(rule) = rule {
            let moment = self.moment();
            let body = rule.body(&|name| series::figure(&self.series, name, &moment));
            let status = rule.status.unwrap_or(200);
            return (!rule.unreachable).then(|| (status, String::from_utf8(body).unwrap()));
        }
        let version = version?;
        Some((200, json!({"status": "ok", "version": version}).to_string()))
    }

    /// Now, for figures.
    fn moment(&self) -> Moment {
        let start = Timestamp::from_millis(0);
        let since = |at: Instant| {
            let span = at.saturating_duration_since(self.start);
            start.plus(Span::from_millis(u64::try_from(span.as_millis()).unwrap()))
        };
        Moment {
            start,
            at: since(Instant::now()),
            changed: self.changed.get().copied().map(since),
            ..Moment::default()
        }
    }

    /// The version of a pod that is ready behind a Service.
    fn version(&self, service: &str) -> Option<String> {
        let label = format!("kubernetes.io/service-name={service}");
        let slices = self.get(&["endpointslices", "-l", &label]);
        let slices = slices["items"].as_array()?.iter();
        let mut endpoints =
            slices.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let ready = endpoints.find(|one| one["conditions"]["ready"] == true)?;
        let pod = self.get(&["pod", ready["targetRef"]["name"].as_str()?]);
        let image = pod["spec"]["containers"][0]["image"].as_str()?;
        image.rsplit_once(':').map(|(_, tag)| tag.to_owned())
    }

    fn get(&self, what: &[&str]) -> Value {
        let output = Command::new(cluster().join("kubectl"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--namespace", &self.namespace, "get", "-o", "json"])
            .args(what)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

/// Whether a request has come in with all of its body.
fn whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
