//! The real cluster, through `kubectl proxy`, which adds who asks and the transport's security.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::exchange::{AGENT, Answer, Ask, Wire};
use crate::space::cluster;

/// How long a moment is.
const MOMENT: Duration = Duration::from_millis(200);

pub(super) struct Real {
    proxy: Child,
    address: String,
    namespace: String,
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may be gone already, and nothing is left to do then.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}

impl Real {
    pub(super) fn new(namespace: &str) -> Self {
        let folder = cluster();
        let mut proxy = Command::new(folder.join("kubectl"))
            .arg("--kubeconfig")
            .arg(folder.join("kubeconfig"))
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = proxy.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Self {
            proxy,
            address,
            namespace: namespace.to_owned(),
        }
    }
}

impl Wire for Real {
    fn name(&self) -> &'static str {
        "real"
    }

    fn send(&mut self, ask: &Ask) -> Answer {
        let body = ask.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {AGENT}\r\nAccept: application/json\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            ask.method,
            ask.target(&self.namespace),
            ask.media,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        read(&answer)
    }

    fn pass(&mut self) {
        thread::sleep(MOMENT);
    }

    /// The versions of before the cluster began are as good as forgotten.
    fn forget(&mut self) {}
}

/// Reads a response that ends with its connection.
fn read(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = bytes.split_at(end.unwrap() + 4);
    let head = String::from_utf8_lossy(head).to_lowercase();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.contains("transfer-encoding: chunked") {
        joined(body)
    } else {
        body.to_vec()
    };
    let lines = serde_json::Deserializer::from_slice(&body).into_iter::<Value>();
    let Ok(mut lines) = lines.collect::<Result<Vec<Value>, _>>() else {
        // Where nothing is served at all, that is said in plain text.
        let text = String::from_utf8_lossy(&body).trim().to_owned();
        return Answer {
            code,
            body: Value::String(text),
        };
    };
    let is_line = |value: &Value| value["type"].is_string() && value["object"].is_object();
    let body = match lines.as_slice() {
        [one] if !is_line(one) => lines.remove(0),
        _ => Value::Array(lines),
    };
    Answer { code, body }
}

/// Puts chunks together.
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        let begin = end + 2;
        whole.extend_from_slice(&rest[begin..begin + size]);
        rest = &rest[begin + size + 2..];
    }
    whole
}
