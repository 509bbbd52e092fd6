//! What a plan needs to be allowed in its cluster, for its steps and its way back, and which of it is missing.
//!
//! The list is kept here, beside the requests: whoever adds one adds its right. What a run can do without (events
//! and logs of failing pods) is not in it.

use std::collections::BTreeSet;
use std::fmt;

use ::http::Method;
use phasegate_core::config::ConfigKind;
use phasegate_core::diagnostic::codes;
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::plan::{Action, Plan, Workload};
use phasegate_core::spec::objects;
use phasegate_core::strategy::{Placement, Slot};
use phasegate_core::time::Span;
use phasegate_runtime::ports::{Capability, Description};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::fault::Fault;
use super::path::Resource;
use super::transport::Call;
use super::{JSON, KubeCluster, Problem, at, claim, configs, lease, subject};

/// Most rights that are asked about: far more than any plan needs.
const MAX_RIGHTS: usize = 2000;
/// The longest time for asking about all of them.
const MAX_TIME: Span = Span::from_mins(2);

/// A verb on a kind of object, or on one object of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    namespace: String,
    group: String,
    resource: String,
    verb: &'static str,
    /// Empty for any of the kind.
    name: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        write!(f, " in namespace `{}`", self.namespace)
    }
}

/// What a user may do, as a `SelfSubjectRulesReview` has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

#[derive(Deserialize)]
struct Reviewed {
    status: Review,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    resource_rules: Vec<Rule>,
    incomplete: bool,
    evaluation_error: String,
}

impl Right {
    #[cfg(test)]
    pub(super) fn on_deployment(namespace: &str, verb: &'static str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            verb,
            name: name.to_owned(),
        }
    }

    fn is_in(&self, rules: &[Rule]) -> bool {
        let has = |all: &[String], one: &str| all.iter().any(|name| name == one || name == "*");
        rules.iter().any(|rule| {
            has(&rule.verbs, self.verb)
                && has(&rule.api_groups, &self.group)
                && has(&rule.resources, &self.resource)
                // A rule that names objects says nothing of others.
                && (rule.resource_names.is_empty()
                    || (!self.name.is_empty() && rule.resource_names.contains(&self.name)))
        })
    }
}

/// The rights that are being gathered for one namespace.
struct Needs<'a> {
    namespace: &'a str,
    rights: &'a mut BTreeSet<Right>,
}

impl Needs<'_> {
    /// Verbs on the object of that name.
    fn on(&mut self, resource: &Resource, name: &str, verbs: &[&'static str]) {
        for &verb in verbs {
            // What is yet to be made, and what is listed, has no name that a right could be bound to.
            let named = !matches!(verb, "create" | "list");
            self.rights.insert(Right {
                namespace: self.namespace.to_owned(),
                group: resource.group.clone(),
                resource: resource.plural.clone(),
                verb,
                name: if named {
                    name.to_owned()
                } else {
                    String::new()
                },
            });
        }
    }
}

/// Everything that a run of the plan may ask of the cluster; `described` are the plugins that it uses.
#[must_use]
pub fn needed<'a>(
    plan: &Plan,
    described: impl IntoIterator<Item = &'a Description> + Clone,
) -> BTreeSet<Right> {
    let mut rights = BTreeSet::new();
    for (index, workload) in plan.workloads.iter().enumerate() {
        let mut needs = Needs {
            namespace: &workload.target.namespace,
            rights: &mut rights,
        };
        held(&mut needs, workload);
        looked_at(&mut needs, workload);
        let steps = plan.phases.iter().flat_map(|phase| &phase.steps);
        for step in steps.filter(|step| step.workload == index) {
            changed(&mut needs, workload, &step.action);
        }
        for description in described.clone() {
            let given = given(plan, &description.name);
            asked(&mut needs, description, given.as_ref());
        }
    }
    rights
}

/// The kinds that a plugin is given by manifests to apply; none where it is used without.
fn given<'a>(plan: &'a Plan, plugin: &str) -> Option<BTreeSet<(&'a str, &'a str)>> {
    // It may be more than an action.
    if plan.offers().any(|offer| offer.plugin == plugin) {
        return None;
    }
    let acts = plan.acts().filter(|(offer, _)| offer.plugin == plugin);
    let acts: Vec<_> = acts.collect();
    if acts.is_empty() || acts.iter().any(|(_, manifests)| !manifests) {
        return None;
    }
    let given = acts
        .iter()
        .flat_map(|(offer, _)| objects::of(&offer.config));
    Some(given.map(objects::kind_of).collect())
}

/// Claim and lease.
fn held(needs: &mut Needs<'_>, workload: &Workload) {
    let target = &workload.target;
    let claims = ["get", "create", "update", "delete"];
    needs.on(&Resource::config_maps(), &claim::name(target), &claims);
    let leases = ["get", "create", "update"];
    needs.on(&Resource::leases(), &lease::name(target), &leases);
}

/// What is read of a workload, and the writes without which no run begins and none goes back.
fn looked_at(needs: &mut Needs<'_>, workload: &Workload) {
    let target = &workload.target;
    let deployments = Resource::deployments();
    needs.on(&deployments, &target.deployment, &["get", "patch"]);
    needs.on(&Resource::fixed("apps", "v1", "replicasets"), "", &["list"]);
    needs.on(&Resource::fixed("", "v1", "pods"), "", &["list"]);
    needs.on(&Resource::autoscalers(), "", &["list"]);
    if let Some(service) = &target.service {
        needs.on(&Resource::services(), service, &["get"]);
    }
    for name in &target.config_maps {
        needs.on(&Resource::config_maps(), name, &["get"]);
    }
    let secrets = Resource::fixed("", "v1", "secrets");
    for name in &target.secrets {
        needs.on(&secrets, name, &["get"]);
    }
    for config in &workload.configs {
        let resource = configs::resource(config.copy.kind);
        match config.copy.kind {
            // Stable's template is replaced as a whole.
            ConfigKind::Template => needs.on(&deployments, &target.deployment, &["update"]),
            _ => needs.on(&resource, &config.copy.of, &["get"]),
        }
        needs.on(&resource, &config.before, &["get"]);
        let made: &[&str] = match config.there {
            true => &["get"],
            false => &["get", "create", "delete"],
        };
        needs.on(&resource, &config.copy.name, made);
    }
    if let Some(beside) = &target.beside {
        needs.on(&deployments, &beside.deployment, &["get"]);
    }
}

/// What a step writes, and what undoes it.
fn changed(needs: &mut Needs<'_>, workload: &Workload, action: &Action) {
    let target = &workload.target;
    let scaled = workload.baseline.autoscaler.is_some();
    let gone = ["delete"];
    match (action, &target.beside) {
        (
            Action::Deploy {
                placement: Placement::Beside,
                ..
            },
            Some(beside),
        ) => {
            let made = ["get", "create", "update", "patch", "delete"];
            needs.on(&Resource::deployments(), &beside.deployment, &made);
            if let Some(service) = &beside.service {
                let made = ["get", "create", "update", "delete"];
                needs.on(&Resource::services(), service, &made);
            }
            if scaled {
                // Stable's minimum is raised too, and its autoscaler may have any name.
                let made = ["get", "create", "update", "patch", "delete"];
                needs.on(&Resource::autoscalers(), "", &made);
            }
        }
        (
            Action::Retire {
                slot: Slot::Stable, ..
            },
            _,
        ) => {
            needs.on(&Resource::deployments(), &target.deployment, &gone);
            if scaled {
                needs.on(&Resource::autoscalers(), "", &gone);
            }
        }
        _ => {}
    }
}

/// What a plugin asks for. Which objects it means is its own knowledge, so that the right has no name. Of the kinds that
/// it asks to apply, only those count that it is given, where manifests say which.
fn asked(needs: &mut Needs<'_>, description: &Description, given: Option<&BTreeSet<(&str, &str)>>) {
    for ask in &description.asks {
        if let (Some(given), Some(kind)) = (given, ask.applied())
            && !given.contains(&kind)
        {
            continue;
        }
        let Capability::Kubernetes { group, kind, verbs } = ask else {
            continue;
        };
        // The version isn't part of a right.
        let version = if group.is_empty() {
            "v1".to_owned()
        } else {
            format!("{group}/v1")
        };
        let Ok(resource) = Resource::of(&version, kind) else {
            continue;
        };
        for verb in verbs {
            match verb.as_str() {
                "get" => needs.on(&resource, "", &["get"]),
                "find" => needs.on(&resource, "", &["list"]),
                "apply" => needs.on(&resource, "", &["create", "patch"]),
                "patch" => needs.on(&resource, "", &["patch"]),
                "remove" => needs.on(&resource, "", &["delete"]),
                _ => {}
            }
        }
    }
}

impl KubeCluster {
    /// Those of the rights that the engine's user doesn't have.
    ///
    /// # Errors
    /// Where the cluster doesn't say, or not in time, and where there are more than can be asked about.
    pub async fn missing(&self, rights: &BTreeSet<Right>) -> Result<Vec<Right>, Failure> {
        if rights.len() > MAX_RIGHTS {
            return Err(Failure::new(
                Kind::Permanent,
                codes::TOO_MANY,
                format!(
                    "the plan needs {} rights, more than the {MAX_RIGHTS} that are asked about",
                    rights.len()
                ),
            ));
        }
        let deadline = self.transport.clock.now().plus(MAX_TIME);
        let asked = async {
            let granted = self.granted(rights).await;
            let mut missing = Vec::new();
            for right in rights {
                if !granted.contains(right) && !self.allows(right).await? {
                    missing.push(right.clone());
                }
            }
            Ok(missing)
        };
        tokio::select! {
            biased;
            missing = asked => missing,
            () = self.transport.clock.sleep_until(deadline) => Err(Failure::new(
                Kind::Timeout,
                codes::CLUSTER_UNREACHABLE,
                format!("the cluster has not said within {MAX_TIME} which of {} rights there are", rights.len()),
            )),
        }
    }

    /// The rights to read that the engine's user is known to have, by what the cluster says about all of them at once.
    /// It says so only where each of its authorizers can list its rules; one that refuses by itself can't. What changes
    /// something is asked about one by one in any case: a run that lacks it could not go back.
    async fn granted(&self, rights: &BTreeSet<Right>) -> BTreeSet<Right> {
        let mut granted = BTreeSet::new();
        let namespaces: BTreeSet<&str> = rights.iter().map(|r| r.namespace.as_str()).collect();
        for namespace in namespaces {
            let reads = rights.iter().filter(|right| {
                right.namespace == namespace && matches!(right.verb, "get" | "list")
            });
            // Without an answer each right is asked about.
            let Ok(rules) = self.rules(namespace).await else {
                continue;
            };
            granted.extend(reads.filter(|right| right.is_in(&rules)).cloned());
        }
        granted
    }

    /// What the cluster says that the engine's user may do in a namespace; nothing where it doesn't say all.
    async fn rules(&self, namespace: &str) -> Result<Vec<Rule>, Problem> {
        let reviews = Resource::fixed("authorization.k8s.io", "v1", "selfsubjectrulesreviews");
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        });
        let answer: Reviewed = self.reviewed(&reviews, review).await?;
        let all = !answer.status.incomplete && answer.status.evaluation_error.is_empty();
        Ok(if all {
            answer.status.resource_rules
        } else {
            Vec::new()
        })
    }

    async fn reviewed<T: DeserializeOwned>(
        &self,
        reviews: &Resource,
        review: Value,
    ) -> Result<T, Problem> {
        let subject = subject("create", reviews, None, "");
        let path = reviews
            .path(None, "")
            .map_err(|why| Problem::new(Fault::NotSent(why), subject.clone()))?;
        let call = Call::new(Method::POST, path, subject).body(JSON, review);
        self.transport.whole(call).await
    }

    async fn allows(&self, right: &Right) -> Result<bool, Failure> {
        let reviews = Resource::fixed("authorization.k8s.io", "v1", "selfsubjectaccessreviews");
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {
                "namespace": right.namespace,
                "verb": right.verb,
                "group": right.group,
                "resource": right.resource,
                "name": right.name,
            }},
        });
        let answer: Value = self.reviewed(&reviews, review).await?;
        Ok(at(&answer, "/status/allowed").and_then(Value::as_bool) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plan of one workload with an autoscaler, and these steps.
    fn plan(steps: &Value) -> Plan {
        let plan = json!({
            "format": 1,
            "subject": {"name": "web", "version": "2", "previousVersion": "1", "environment": "default", "change": "minor"},
            "workloads": [{
                "name": "web",
                "image": "registry.test/web:2",
                "target": {
                    "cluster": "prod", "namespace": "shop", "workload": "web", "deployment": "web",
                    "container": "app", "service": "web", "secrets": ["keys"],
                    "beside": {"deployment": "web-candidate", "service": "web-candidate", "labels": {}},
                },
                "baseline": {
                    "uid": "u", "resourceVersion": "1", "revision": 1,
                    "settings": {"image": "registry.test/web:1", "replicas": 2, "rollout": {"type": "recreate"}},
                    "version": "1", "ready": 2, "templateDigest": "d",
                    "autoscaler": {"minimum": 1, "maximum": 4},
                },
            }],
            "plugins": {}, "gates": {}, "notifiers": {}, "approvals": [], "due": [],
            "phases": [{"name": "deploy", "steps": steps}],
            "calendar": {"apiVersion": "phasegate.dev/v1alpha1", "kind": "Policy"},
            "rollback": {"target": "5m", "stepTimeout": "5m", "retries": 5},
            "peopleTimeout": "1h", "minimumSoak": "0s",
        });
        serde_json::from_value(plan).unwrap()
    }

    fn deploy(placement: &str) -> Value {
        json!({
            "id": "deploy", "do": "deploy", "placement": placement, "timeout": "5m",
            "replicas": {"percent": 100},
        })
    }

    fn told(plan: &Plan, described: &[Description]) -> Vec<String> {
        let rights = needed(plan, described);
        rights.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_release_in_place_needs_to_look_to_hold_and_to_patch() {
        let told = told(&plan(&json!([deploy("in-place")])), &[]);
        for right in [
            "get deployments.apps `web` in namespace `shop`",
            "patch deployments.apps `web` in namespace `shop`",
            "create configmaps in namespace `shop`",
            "delete configmaps `phasegate-claim-web` in namespace `shop`",
            "update leases.coordination.k8s.io `phasegate-web` in namespace `shop`",
            "list pods in namespace `shop`",
            "get secrets `keys` in namespace `shop`",
        ] {
            assert!(
                told.iter().any(|t| t == right),
                "{right} is not in {told:?}"
            );
        }
        let more = [
            "create deployments",
            "delete deployments",
            "patch horizontal",
            "list secrets",
        ];
        assert!(
            !told.iter().any(|t| more.iter().any(|m| t.starts_with(m))),
            "{told:?}"
        );
    }

    #[test]
    fn a_candidate_beside_needs_what_makes_it_and_what_takes_it_away() {
        let told = told(&plan(&json!([deploy("beside")])), &[]);
        for right in [
            "create deployments.apps in namespace `shop`",
            "delete deployments.apps `web-candidate` in namespace `shop`",
            "delete services `web-candidate` in namespace `shop`",
            "patch horizontalpodautoscalers.autoscaling in namespace `shop`",
        ] {
            assert!(
                told.iter().any(|t| t == right),
                "{right} is not in {told:?}"
            );
        }
        let stable = "delete deployments.apps `web` in namespace `shop`".to_owned();
        assert!(!told.contains(&stable), "{told:?}");
    }

    #[test]
    fn a_rule_covers_what_it_says_and_no_other_object() {
        let rule = |resources: &[&str], names: &[&str]| Rule {
            verbs: vec!["get".to_owned()],
            api_groups: vec!["apps".to_owned()],
            resources: resources.iter().map(ToString::to_string).collect(),
            resource_names: names.iter().map(ToString::to_string).collect(),
        };
        let right = |verb, group: &str, resource: &str, name: &str| Right {
            namespace: "shop".to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            verb,
            name: name.to_owned(),
        };
        let get = right("get", "apps", "deployments", "web");
        assert!(get.is_in(&[rule(&["deployments"], &[])]));
        assert!(get.is_in(&[rule(&["pods"], &[]), rule(&["*"], &["web"])]));
        for (right, rule) in [
            (&get, rule(&["deployments"], &["other"])),
            (&get, rule(&["deployments/status"], &[])),
            (&right("list", "apps", "deployments", ""), rule(&["*"], &[])),
            (&right("get", "", "deployments", "web"), rule(&["*"], &[])),
            // What has no name yet is not covered by a rule about names.
            (
                &right("get", "apps", "deployments", ""),
                rule(&["*"], &["web"]),
            ),
        ] {
            assert!(!right.is_in(&[rule]), "{right}");
        }
    }

    #[test]
    fn of_the_kinds_that_a_plugin_applies_only_those_count_that_it_is_given() {
        let asks = |group: &str, kind: &str, verbs: &[&str]| Capability::Kubernetes {
            group: group.to_owned(),
            kind: kind.to_owned(),
            verbs: verbs.iter().map(ToString::to_string).collect(),
        };
        let all = ["get", "apply", "remove"];
        let apply = Description {
            name: "mine".to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            offers: Vec::new(),
            asks: vec![
                asks("networking.k8s.io", "NetworkPolicy", &all),
                asks("batch", "CronJob", &all),
                asks("", "Event", &["find"]),
            ],
        };
        let act = |manifests: bool| {
            let policy = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "a"}});
            json!([{
                "id": "act", "do": "act", "timeout": "1m", "manifests": manifests,
                "offer": {"plugin": "mine", "offer": "apply", "config": {"objects": [policy]}},
            }])
        };
        let told = told(&plan(&act(true)), std::slice::from_ref(&apply));
        for verb in ["get", "create", "patch", "delete"] {
            let right = format!("{verb} networkpolicies.networking.k8s.io in namespace `shop`");
            assert!(told.contains(&right), "{right} is not in {told:?}");
        }
        let events = "list events in namespace `shop`".to_owned();
        assert!(told.contains(&events), "{told:?}");
        assert!(
            !told.iter().any(|right| right.contains("cronjobs")),
            "{told:?}"
        );
        // One that is given nothing may mean all that it asks for.
        let rights = needed(&plan(&act(false)), std::slice::from_ref(&apply));
        let cron = "delete cronjobs.batch in namespace `shop`";
        assert!(rights.iter().any(|right| right.to_string() == cron));
        // So may one that is something else besides.
        let mut routed = plan(&act(true));
        let offer = json!({
            "plugin": "mine", "offer": "routes", "config": {},
            "features": {"weights": true, "headerMatch": false, "mirror": false},
        });
        routed.workloads[0].router = Some(serde_json::from_value(offer).unwrap());
        let rights = needed(&routed, std::slice::from_ref(&apply));
        assert!(rights.iter().any(|right| right.to_string() == cron));
    }

    #[test]
    fn what_plugins_ask_for_is_needed_too() {
        let router = Description {
            name: "gateway-api".to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            offers: Vec::new(),
            asks: vec![Capability::Kubernetes {
                group: "gateway.networking.k8s.io".to_owned(),
                kind: "HTTPRoute".to_owned(),
                verbs: vec!["find".to_owned(), "apply".to_owned()],
            }],
        };
        let told = told(&plan(&json!([])), &[router]);
        for verb in ["list", "create", "patch"] {
            let right = format!("{verb} httproutes.gateway.networking.k8s.io in namespace `shop`");
            assert!(told.contains(&right), "{right} is not in {told:?}");
        }
    }
}
