//! A scenario of `tests/scenarios` in little time: hours and minutes take as many seconds, seconds a sixtieth.
//!
//! Both clusters play the same shortened files, so that what a soak or an act is told of is the same on both.

use std::path::{Path, PathBuf};

use phasegate_core::time::Span;
use phasegate_core::yaml;
use serde_json::{Value, json};

/// The least that a span is made: a pod and a look take that long on a real cluster.
const LEAST_MS: u64 = 1_000;
/// The least that a limit on a wait is made: a rollout takes real time, however short the soaks are.
const LEAST_TIMEOUT_MS: u64 = 30_000;
/// The least that people are given to decide: their commands take as long as the machine makes them.
const LEAST_PEOPLE_MS: u64 = 30_000;
/// The least that a soak is made in which people do something.
const SOAK_WITH_PEOPLE_MS: u64 = 20_000;

/// The namespace that stories take place in, which is no other word in them.
pub(super) const NAMESPACE: &str = "played-here";

/// A release, its world and its policy, as files.
pub(super) struct Story {
    /// Where the files are that the release brings along.
    pub(super) folder: PathBuf,
    pub(super) release: Value,
    pub(super) scenario: Value,
    pub(super) policy: Value,
    /// On the real cluster it is played by an engine within this process.
    pub(super) within: bool,
}

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// The names of all folders.
pub(super) fn all() -> Vec<String> {
    let folders = std::fs::read_dir(scenarios()).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    let folders = folders.filter(|path| path.is_dir());
    folders
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

fn read(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    // Where a host is told by its namespace.
    let text = String::from_utf8(bytes).unwrap();
    let text = text.replace(".shop.svc", &format!(".{NAMESPACE}.svc"));
    let document = yaml::read(&path.display().to_string(), text.as_bytes());
    let document = document.unwrap_or_else(|fault| panic!("{fault}"));
    document.value().clone()
}

impl Story {
    /// The story of a folder.
    pub(super) fn of(name: &str) -> Self {
        let folder = scenarios().join(name);
        let own_or_common = |file: &str| {
            let own = folder.join(file);
            match own.is_file() {
                true => read(&own),
                false => read(&scenarios().join(file)),
            }
        };
        let common = read(&scenarios().join("world.yaml"));
        let mut scenario = read(&folder.join("scenario.yaml"));
        let cluster = &mut scenario["cluster"];
        if cluster["objects"].as_array().is_none_or(Vec::is_empty) {
            cluster["objects"] = common["cluster"]["objects"].clone();
        }
        let mut pods = cluster["pods"].as_array().cloned().unwrap_or_default();
        pods.extend(common["cluster"]["pods"].as_array().unwrap().clone());
        cluster["pods"] = pods.into();
        for object in cluster["objects"].as_array_mut().unwrap() {
            let namespace = object["kind"] == "Namespace";
            let field = if namespace { "name" } else { "namespace" };
            object["metadata"][field] = NAMESPACE.into();
        }
        // What the folder's own world expects, it expects of longer times.
        let end = scenario["expect"]["end"].clone();
        scenario["expect"] = json!({"end": end});
        let mut release = own_or_common("release.yaml");
        release["namespace"] = NAMESPACE.into();
        shorten(&mut release, "");
        // The interval of a gate that names none is longer than its soak is now.
        for (_, gate) in release["gates"].as_object_mut().unwrap() {
            if gate["policy"]["interval"].is_null() {
                gate["policy"]["interval"] = "1s".into();
            }
        }
        for part in ["acts", "deaths", "series"] {
            shorten(&mut scenario[part], "");
        }
        for part in ["pods", "routeDelay"] {
            shorten(&mut scenario["cluster"][part], "");
        }
        if scenario["acts"].is_null() {
            scenario["acts"] = json!([]);
        }
        if scenario["deaths"].is_null() {
            scenario["deaths"] = json!([]);
        }
        if scenario["series"].is_null() {
            scenario["series"] = json!({});
        }
        let policy = own_or_common("policy.yaml");
        Self {
            folder,
            release,
            scenario,
            policy,
            within: false,
        }
    }

    /// Makes soaks long enough for what people do in them, where their acts wait for one.
    pub(super) fn wait_for_people(&mut self) {
        let acts = self.scenario["acts"].as_array().unwrap();
        let in_a_soak = |act: &Value| {
            let step = act["when"]["step"].as_str();
            step.is_some_and(|step| step.contains("soak"))
        };
        if !acts.iter().any(in_a_soak) {
            return;
        }
        for phase in self.release["phases"].as_array_mut().unwrap() {
            if let Some(soak) = phase.pointer_mut("/strategy/config/soak") {
                lengthen(soak);
            }
            let listed = phase.pointer_mut("/strategy/config/steps");
            for step in listed.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(pause) = step.pointer_mut("/pause/duration") {
                    lengthen(pause);
                }
            }
            for step in phase["steps"].as_array_mut().into_iter().flatten() {
                if let Some(soak) = step.pointer_mut("/soak/for") {
                    lengthen(soak);
                }
            }
        }
    }

    /// How the run is to end.
    pub(super) fn end(&self) -> &str {
        self.scenario["expect"]["end"].as_str().unwrap()
    }
}

/// Makes a soak, or each of some, as long as people need.
fn lengthen(soaks: &mut Value) {
    match soaks {
        Value::Array(all) => all.iter_mut().for_each(lengthen),
        Value::String(text) => {
            let span = text.parse::<Span>().unwrap();
            *text = span.max(Span::from_millis(SOAK_WITH_PEOPLE_MS)).to_string();
        }
        _ => {}
    }
}

/// Makes every span below `value` short. `key` is the field that it stands in.
fn shorten(value: &mut Value, key: &str) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| shorten(one, key)),
        Value::Object(fields) => fields
            .iter_mut()
            .for_each(|(key, field)| shorten(field, key)),
        Value::String(text) => {
            if let Some(short) = shortened(text, key) {
                *text = short.to_string();
            }
        }
        _ => {}
    }
}

fn shortened(text: &str, key: &str) -> Option<Span> {
    const HOUR: u64 = 3_600_000;
    // Versions and names are no spans.
    text.parse::<Span>().ok()?;
    if text.ends_with("ms") {
        return None;
    }
    let whole = text.parse::<Span>().ok()?.as_millis();
    if whole == 0 {
        return None;
    }
    let short = (whole / HOUR) * 1_000 + (whole % HOUR) / 60;
    let least = match key {
        "peopleTimeout" => LEAST_PEOPLE_MS.min(whole),
        "timeout" | "stopTimeout" | "stepTimeout" => LEAST_TIMEOUT_MS.min(whole),
        "at" | "after" | "resumeAfter" => 0,
        // Long enough for a rollout, and for the step after it to begin.
        "unreadyAfter" => 6_000,
        _ => LEAST_MS,
    };
    Some(Span::from_millis(short.max(least)))
}
