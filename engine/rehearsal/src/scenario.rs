//! The scenario file: a simulated world, what goes wrong in it, who acts in it, and what an
//! independent observer must see in the end.

use std::collections::BTreeMap;

use phasegate_core::diagnostic::{Diagnostic, Diagnostics, codes};
use phasegate_core::spec::policy::Moment;
use phasegate_core::spec::{API_VERSION, ApiVersion};
use phasegate_core::time::{Span, Timestamp};
use phasegate_core::yaml::{self, Document};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::{AutoscalerRule, Cluster, Config, Fault, PodRule, Source};

pub mod acts;
pub mod expect;
pub mod prometheus;
pub mod series;
pub mod web;

pub use acts::{Act, Death, PluginFault};
pub use expect::Expect;
pub use prometheus::PromRule;
pub use series::Series;
pub use web::HttpRule;

/// Most objects, rules, faults or acts of one kind that a scenario may have.
pub const MAX_ENTRIES: usize = 1_000;

/// Most pods that one object of a scenario may want.
pub const MAX_PODS_EACH: u32 = 1_000;
/// Most pods that its objects may want together.
pub const MAX_PODS: u64 = 5_000;

/// When a scenario begins if it doesn't say: a Tuesday morning in New York.
const DEFAULT_START: Timestamp = Timestamp::from_millis(1_794_931_200_000);

/// A simulated world.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// The version of the format.
    pub api_version: ApiVersion,
    /// What the file is.
    pub kind: ScenarioKind,
    /// What the scenario shows, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Everything that is left to chance follows from it.
    #[serde(default = "one")]
    pub seed: u64,
    /// When it begins, in RFC 3339. Default: a Tuesday, 11:00 in New York.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// The policy that a rehearsal is held under: a file, by its place from this one. `--policy` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The environment that a rehearsal deploys to, in place of the release's. `--environment` wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Whether the release is only planned, as by `phasegate plan`: the end is `not-started`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Who starts the run. Default: `operator`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_by: Option<String>,
    /// The cluster.
    #[serde(default)]
    pub cluster: ClusterPart,
    /// Requests that come in, and what is counted of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Source>,
    /// Figures that change over time, by name: `{"$series": "errors"}` in an answer stands for the figure now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub series: BTreeMap<String, Series>,
    /// What HTTP requests of plugins are answered; the first rule that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpRule>,
    /// Hosts at which a Prometheus answers, and what it answers. The rules of `http` come first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prometheus: BTreeMap<String, Vec<PromRule>>,
    /// What the API server or the network does wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// What plugins do wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginFault>,
    /// What people do, to the run or behind its back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<Act>,
    /// When the engine dies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deaths: Vec<Death>,
    /// What the observer must have seen.
    #[serde(default)]
    pub expect: Expect,
}

/// `kind` of a scenario file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ScenarioKind {
    /// The only kind.
    #[default]
    Scenario,
}

/// The simulated cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterPart {
    /// Manifests of what is there when the scenario begins, long settled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Value>,
    /// How pods behave, by image; the first rule that fits counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<PodRule>,
    /// How long a changed endpoint takes to reach the data plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints_delay: Option<Span>,
    /// How long the controller takes to notice a changed Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation_lag: Option<Span>,
    /// How long a pod takes to be ready where no rule says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_ready: Option<Span>,
    /// How long a pod takes to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination: Option<Span>,
    /// How long the status of a changed HTTPRoute takes to follow. Default: 200 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_status_lag: Option<Span>,
    /// How long a changed HTTPRoute, Ingress or VirtualService takes to reach the data plane. Default: 1 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_delay: Option<Span>,
    /// What the metrics of autoscalers call for; the first rule that fits counts. An autoscaler that none
    /// fits keeps its target within bounds and no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub autoscalers: Vec<AutoscalerRule>,
    /// How often an autoscaler looks at its target. Default: 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler_sync: Option<Span>,
}

const fn one() -> u64 {
    1
}

/// A scenario that was read and checked.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The scenario.
    pub scenario: Scenario,
    /// The document, for places.
    pub document: Document,
}

/// Reads a scenario file.
///
/// # Errors
/// Every fault, at its place in the file.
pub fn load(file: &str, bytes: &[u8]) -> Result<Loaded, Diagnostics> {
    let document = yaml::read(file, bytes)?;
    for (field, wanted) in [("apiVersion", API_VERSION), ("kind", "Scenario")] {
        let pointer = format!("/{field}");
        if document.get(&pointer).and_then(Value::as_str) != Some(wanted) {
            return Err(Diagnostic::new(
                codes::WRONG_KIND,
                "this is not a Scenario file for this engine",
            )
            .at(document.place(&pointer))
            .expected(format!("`{field}: {wanted}`"))
            .into());
        }
    }
    let yaml::Parsed {
        value: scenario,
        document,
    } = yaml::fit::<Scenario>(document)?;
    let mut faults = Diagnostics::new();
    check(&scenario, &document, &mut faults);
    faults.sort_by_place();
    faults.into_result(Loaded { scenario, document })
}

/// Reads a scenario file that stands by itself: what the cluster refuses of it, which is known only by
/// making one, is told at its place as well.
///
/// # Errors
/// Every fault, at its place in the file.
pub fn load_whole(file: &str, bytes: &[u8]) -> Result<Loaded, Diagnostics> {
    let loaded = load(file, bytes)?;
    match loaded.scenario.made(loaded.scenario.seed) {
        Ok(_) => Ok(loaded),
        Err(refused) => {
            let place = loaded.document.place(&refused.pointer);
            Err(refused.fault.at(place).into())
        }
    }
}

/// A cluster that can't be made as a scenario says, and where in it that is.
struct Refused {
    fault: Diagnostic,
    pointer: String,
}

fn check(scenario: &Scenario, document: &Document, faults: &mut Diagnostics) {
    let mut fault = |pointer: &str, message: String| {
        faults.push(Diagnostic::new(codes::SCENARIO_INVALID, message).at(document.place(pointer)));
    };
    for (pointer, text) in [
        ("/policy", &scenario.policy),
        ("/environment", &scenario.environment),
    ] {
        if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
            fault(pointer, "it names nothing; leave it out".to_owned());
        }
    }
    let counts = [
        ("/cluster/objects", scenario.cluster.objects.len()),
        ("/cluster/pods", scenario.cluster.pods.len()),
        ("/cluster/autoscalers", scenario.cluster.autoscalers.len()),
        ("/traffic", scenario.traffic.len()),
        ("/http", scenario.http.len()),
        ("/faults", scenario.faults.len()),
        ("/plugins", scenario.plugins.len()),
        ("/acts", scenario.acts.len()),
        ("/deaths", scenario.deaths.len()),
    ];
    for (pointer, count) in counts {
        if count > MAX_ENTRIES {
            fault(
                pointer,
                format!("{count} entries, at most {MAX_ENTRIES} are taken"),
            );
        }
    }
    check_figures(scenario, &mut fault);
    for (index, rule) in scenario.cluster.autoscalers.iter().enumerate() {
        let pointer = format!("/cluster/autoscalers/{index}");
        if let Err(message) = rule.check() {
            fault(&pointer, message);
        } else if rule.needs.is_some() && scenario.traffic.is_empty() {
            fault(&pointer, "`needs` needs `traffic` to share".to_owned());
        }
    }
    for (index, source) in scenario.traffic.iter().enumerate() {
        if let Err(message) = source.check() {
            fault(&format!("/traffic/{index}"), message);
        }
    }
    if scenario.cluster.autoscaler_sync == Some(Span::ZERO) {
        let message = "an autoscaler needs some time between two looks".to_owned();
        fault("/cluster/autoscalerSync", message);
    }
    for (index, act) in scenario.acts.iter().enumerate() {
        if let Err(message) = act.check() {
            fault(&format!("/acts/{index}"), message);
        }
    }
    check_sizes(scenario, &mut fault);
}

/// Where an object says how many pods it wants, or may come to want.
const SIZES: [(&str, &str); 5] = [
    ("Deployment", "/spec/replicas"),
    ("ReplicaSet", "/spec/replicas"),
    ("HorizontalPodAutoscaler", "/spec/maxReplicas"),
    ("Job", "/spec/parallelism"),
    ("Job", "/spec/completions"),
];

/// Every pod is an object that is scheduled, started and watched, so that their number is what a
/// simulated cluster costs.
fn check_sizes(scenario: &Scenario, fault: &mut dyn FnMut(&str, String)) {
    let mut all = 0_u64;
    for (index, object) in scenario.cluster.objects.iter().enumerate() {
        let kind = object.get("kind").and_then(Value::as_str);
        for (of, field) in SIZES.iter().filter(|(of, _)| kind == Some(of)) {
            // What is no number is for the cluster to refuse.
            let Some(size) = object.pointer(field).and_then(Value::as_f64) else {
                continue;
            };
            if size > MAX_PODS_EACH as f64 {
                let message = format!("{of} of {size} pods; at most {MAX_PODS_EACH} are taken");
                fault(&format!("/cluster/objects/{index}{field}"), message);
            } else if *of == "Deployment" || *of == "ReplicaSet" {
                all =
                    all.saturating_add(object.pointer(field).and_then(Value::as_u64).unwrap_or(1));
            }
        }
    }
    if all > MAX_PODS {
        fault(
            "/cluster/objects",
            format!("objects of {all} pods in all; at most {MAX_PODS} are taken"),
        );
    }
}

fn check_figures(scenario: &Scenario, fault: &mut dyn FnMut(&str, String)) {
    let mut known = |pointer: &str, name: &str| {
        if !scenario.series.contains_key(name) {
            fault(pointer, format!("there is no series `{name}`"));
        }
    };
    for (index, rule) in scenario.http.iter().enumerate() {
        for name in rule.series() {
            known(&format!("/http/{index}"), &name);
        }
    }
    for (host, rules) in &scenario.prometheus {
        for (index, rule) in rules.iter().enumerate() {
            let pointer = format!("/prometheus/{}/{index}", yaml::escape(host));
            rule.series().for_each(|name| known(&pointer, name));
        }
    }
    for (name, series) in &scenario.series {
        for (index, case) in series.cases.iter().enumerate() {
            let pointer = format!("/series/{}/cases/{index}", yaml::escape(name));
            known(&pointer, &case.take);
        }
    }
    for (host, rules) in &scenario.prometheus {
        let pointer = format!("/prometheus/{}", yaml::escape(host));
        if rules.len() > MAX_ENTRIES {
            fault(&pointer, format!("at most {MAX_ENTRIES} rules are taken"));
        }
        for (index, rule) in rules.iter().enumerate() {
            if let Err(message) = rule.check() {
                fault(&format!("{pointer}/{index}"), message);
            }
        }
    }
    for (name, series) in &scenario.series {
        let pointer = format!("/series/{}", yaml::escape(name));
        if let Err(message) = series.check() {
            fault(&pointer, message);
        } else if series.needs_traffic() && scenario.traffic.is_empty() {
            fault(
                &pointer,
                "it follows `traffic`, and there is none".to_owned(),
            );
        }
    }
}

impl Scenario {
    /// When it begins.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start.map_or(DEFAULT_START, Moment::at)
    }

    /// The cluster as it is when the scenario begins.
    ///
    /// # Errors
    /// A manifest that the cluster refuses.
    pub fn cluster(&self, seed: u64) -> Result<Cluster, Diagnostic> {
        self.made(seed).map_err(|refused| refused.fault)
    }

    fn made(&self, seed: u64) -> Result<Cluster, Refused> {
        let defaults = Config::default();
        let part = &self.cluster;
        let config = Config {
            seed,
            start: self.start(),
            endpoints_delay: part.endpoints_delay.unwrap_or(defaults.endpoints_delay),
            observed_generation_lag: part
                .observed_generation_lag
                .unwrap_or(defaults.observed_generation_lag),
            default_ready: part.default_ready.unwrap_or(defaults.default_ready),
            termination: part.termination.unwrap_or(defaults.termination),
            pods: part.pods.clone(),
            route_status_lag: part.route_status_lag.unwrap_or(defaults.route_status_lag),
            route_delay: part.route_delay.unwrap_or(defaults.route_delay),
            autoscalers: part.autoscalers.clone(),
            autoscaler_sync: part.autoscaler_sync.unwrap_or(defaults.autoscaler_sync),
            ..defaults
        };
        let mut cluster = Cluster::new(config);
        let refused = |pointer: String, message: String| Refused {
            fault: Diagnostic::new(codes::SCENARIO_INVALID, message),
            pointer,
        };
        cluster.seed(&part.objects).map_err(|error| {
            let pointer = format!("/cluster/objects/{}", error.index);
            let message = format!("the simulated cluster refuses an object: {error}");
            refused(pointer, message)
        })?;
        cluster
            .begin_traffic(&self.traffic)
            .map_err(|message| refused("/traffic".to_owned(), message))?;
        for fault in &self.faults {
            cluster.add_fault(fault.clone());
        }
        Ok(cluster)
    }
}

/// The JSON Schema (draft 2020-12) of the scenario file.
#[must_use]
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Scenario>();
    schema.insert("title".to_owned(), "Phasegate scenario".into());
    schema.to_value()
}

#[cfg(test)]
mod tests;
