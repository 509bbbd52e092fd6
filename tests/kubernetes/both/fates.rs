//! Pods of one version that behave in two ways: the first few come up, and those that are made later never do.
//!
//! A template says of all its pods that they never serve; the first ones are told otherwise, each by itself.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle, sleep};
use std::time::Duration;

use serde_json::Value;

use super::stage::fits;
use crate::space::Space;

/// How often it is looked for new pods.
const BETWEEN: Duration = Duration::from_millis(250);

/// The images whose first pods alone come up.
struct Fate {
    image: String,
    times: usize,
    /// The annotation that keeps a pod from serving.
    told: String,
}

fn all(scenario: &Value) -> Vec<Fate> {
    let rules = scenario["cluster"]["pods"].as_array().unwrap().iter();
    rules
        .filter_map(|rule| {
            let times = usize::try_from(rule["times"].as_u64()?).unwrap();
            let image = rule["image"].as_str().unwrap().to_owned();
            let (_, tag) = image.rsplit_once(':').unwrap();
            let told = format!("test.phasegate.dev/fate.{tag}");
            Some(Fate { image, times, told })
        })
        .collect()
}

/// Tells pods their fates until `over`, if the story has such.
pub(super) fn befall<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    space: &'env Space,
    scenario: &Value,
    over: &'env AtomicBool,
) -> Option<ScopedJoinHandle<'scope, ()>> {
    let fates = all(scenario);
    (!fates.is_empty()).then(|| {
        scope.spawn(move || {
            let mut seen = vec![Vec::new(); fates.len()];
            let mut told = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                for (fate, seen) in fates.iter().zip(&mut seen) {
                    tell(space, fate, seen, &mut told);
                }
                sleep(BETWEEN);
            }
        })
    })
}

fn tell(space: &Space, fate: &Fate, seen: &mut Vec<String>, told: &mut BTreeSet<String>) {
    let pods = space.get(&["pods"]);
    let mut pods: Vec<&Value> = pods["items"].as_array().unwrap().iter().collect();
    pods.sort_by_key(|pod| {
        pod["metadata"]["creationTimestamp"]
            .as_str()
            .map(str::to_owned)
    });
    for pod in pods {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        if fits(&fate.image, image) && !seen.contains(&name) {
            seen.push(name);
        }
    }
    for name in seen.iter().take(fate.times) {
        if told.insert(name.clone()) {
            space.kubectl(&["annotate", "pod", name, &format!("{}-", fate.told)]);
        }
    }
}
