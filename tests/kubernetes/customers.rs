//! Customers: each sends one request after the other to where the data plane leads, and counts what comes of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::plane::{Servers, View};

/// How many customers there are, and how long each thinks between two requests.
pub(crate) const CUSTOMERS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(5);
/// How long a customer waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Failures that are told; more are only counted.
pub(crate) const MOST_TOLD: usize = 10;

/// What the customers got.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answers by version.
    pub(crate) answers: BTreeMap<String, u64>,
    pub(crate) failures: u64,
    pub(crate) told: Vec<String>,
    /// How often it was looked where traffic goes.
    pub(crate) looks: u64,
    /// What was wrong with that: a Service with a share and nothing ready behind it, or a pod in it that isn't ready.
    pub(crate) astray: Vec<String>,
}

impl Tally {
    /// Nobody was turned away or led to a pod that isn't ready, and these versions served, and no others.
    #[track_caller]
    pub(crate) fn served_by(&self, versions: &[&str]) {
        assert_eq!(self.failures, 0, "{self:#?}");
        assert!(self.astray.is_empty(), "{self:#?}");
        let served: Vec<&str> = self.answers.keys().map(String::as_str).collect();
        assert_eq!(served, versions, "{self:#?}");
        assert!(self.answers.values().sum::<u64>() > 500, "{self:#?}");
        assert!(self.looks > 20, "{self:#?}");
    }
}

/// Sends one request after the other and counts what comes of them.
pub(crate) async fn customer(
    seed: u64,
    view: Arc<Mutex<View>>,
    servers: Servers,
    tally: Arc<Mutex<Tally>>,
) {
    let dice = AtomicU64::new(seed);
    loop {
        sleep(PAUSE).await;
        let now = view.lock().unwrap().clone();
        if now.weights.is_empty() {
            continue;
        }
        let answer = tokio::time::timeout(PATIENCE, request(&now, &servers, &dice)).await;
        let answer = answer.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        let mut tally = tally.lock().unwrap();
        match answer {
            Ok(version) => *tally.answers.entry(version).or_default() += 1,
            Err(why) => {
                tally.failures += 1;
                if tally.told.len() < MOST_TOLD {
                    tally.told.push(why);
                }
            }
        }
    }
}

/// A number below `end`, by a linear congruence with Knuth's constants for MMIX.
fn roll(dice: &AtomicU64, end: u64) -> u64 {
    let next = dice
        .load(Ordering::Relaxed)
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    dice.store(next, Ordering::Relaxed);
    (next >> 33) % end.max(1)
}

async fn request(view: &View, servers: &Servers, dice: &AtomicU64) -> Result<String, String> {
    let all = view.weights.iter().map(|(_, weight)| weight).sum();
    let mut at = roll(dice, all);
    let chosen = view.weights.iter().find(|(_, weight)| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    let (service, _) = chosen.ok_or("no Service has a weight")?;
    let pods = view.endpoints.get(service).filter(|pods| !pods.is_empty());
    let pods = pods.ok_or_else(|| format!("Service {service} has no endpoint that is ready"))?;
    let pick = usize::try_from(roll(dice, pods.len() as u64)).unwrap();
    let pod = &pods[pick];
    let port = servers.lock().unwrap().get(pod).map(|server| server.port);
    let port = port.ok_or_else(|| format!("the server of pod {pod} is gone"))?;
    let failed = |e: std::io::Error| format!("pod {pod}: {e}");
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .map_err(failed)?;
    stream
        .write_all(b"GET / HTTP/1.0\r\n\r\n")
        .await
        .map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(failed)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, version)) if head.starts_with("HTTP/1.0 200") => Ok(version.to_owned()),
        _ => Err(format!("pod {pod} of {service}: {answer:?}")),
    }
}
