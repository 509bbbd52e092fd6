//! The network of a story, on loopback: `http://TOWN/HOST/PATH` is what `http://HOST/PATH` is in the simulated world.
//!
//! A workload's Service is answered for by the version of a pod that is ready behind it; what the story's rules
//! say comes first.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::space::cluster;

/// How long a request may take to come in.
const PATIENCE: Duration = Duration::from_secs(5);

/// It ends with the value.
pub(super) struct Town {
    pub(super) address: String,
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
    rules: Vec<Value>,
}

impl Town {
    pub(super) fn new(kubeconfig: &Path, namespace: &str, rules: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Answers {
            kubeconfig: kubeconfig.to_owned(),
            namespace: namespace.to_owned(),
            rules: rules.as_array().cloned().unwrap_or_default(),
        };
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
            stop,
            thread: Some(thread),
        }
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
        let target = text
            .split(' ')
            .nth(1)
            .unwrap_or("/")
            .trim_start_matches('/');
        let (host, path) = target.split_once('/').unwrap_or((target, ""));
        let Some((status, body)) = self.answer(host, &format!("/{path}")) else {
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
    fn answer(&self, host: &str, path: &str) -> Option<(u64, String)> {
        let service = host.split_once('.').map_or(host, |(service, _)| service);
        let version = host.ends_with(".svc").then(|| self.version(service));
        let version = version.flatten();
        let rule = self.rules.iter().find(|rule| {
            let is = |field: &str, value: &str| rule[field].is_null() || rule[field] == value;
            is("host", host)
                && is("path", path)
                && (rule["version"].is_null() || rule["version"].as_str() == version.as_deref())
        });
        if let Some(rule) = rule {
            let body = match &rule["json"] {
                Value::Null => String::new(),
                json => json.to_string(),
            };
            let status = rule["status"].as_u64().unwrap_or(200);
            return (rule["unreachable"] != true).then_some((status, body));
        }
        let version = version?;
        Some((200, json!({"status": "ok", "version": version}).to_string()))
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
