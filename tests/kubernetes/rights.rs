//! The published roles are enough, and nothing in them is for nothing: each right is used, or its reason is here.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::desk::Desk;
use crate::plane::{Door, Plane};
use crate::space::Space;
use crate::traffic::{BLUE_GREEN, CANARY, ROLLING, route, workload, write};

/// Rights that only rare ways need.
const RARE: [&str; 7] = [
    // A Deployment or Service of the candidate's name, without pods, that an earlier run left.
    "update deployments.apps",
    "update services.",
    // What other routers than the test's read.
    "watch httproutes.gateway.networking.k8s.io",
    "watch virtualservices.networking.istio.io",
    "watch ingresses.networking.k8s.io",
    "watch services.",
    // A claim that a later run takes over, `run --supersede`.
    "update configmaps.",
];

pub(crate) fn granted(space: &Space, role: &str) -> BTreeSet<String> {
    let role = space.get(&["role", &format!("phasegate-{role}")]);
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().unwrap().iter();
        list.map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for resource in words(rule, "resources") {
            for verb in words(rule, "verbs") {
                let group = words(rule, "apiGroups").concat();
                rights.insert(format!("{verb} {resource}.{group}"));
            }
        }
    }
    rights
}

fn used(space: &Space) -> BTreeSet<String> {
    let account = format!("system:serviceaccount:{}:deployer", space.name);
    let entries = space.audited().into_iter();
    let own = entries.filter(|entry| entry["user"]["username"] == account.as_str());
    own.map(|entry| verb_and_resource(&entry)).collect()
}

/// What an entry of the audit log took, in the words of [`granted`].
pub(crate) fn verb_and_resource(entry: &Value) -> String {
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let object = &entry["objectRef"];
    let (verb, group) = (text(&entry["verb"]), text(&object["apiGroup"]));
    format!("{verb} {}.{group}", text(&object["resource"]))
}

/// A release that succeeds and one that is aborted, by an account that has these roles; some rights are needed later.
fn forward_and_back(space: &Space, roles: &[&str], body: &str, door: Door, later: &[&str]) {
    there_and_back(space, &Desk::of(space, roles), roles, body, door, later);
}

fn there_and_back(
    space: &Space,
    desk: &Desk,
    roles: &[&str],
    body: &str,
    door: Door,
    later: &[&str],
) {
    let plane = Plane::new(Desk::admin(space).kubeconfig(), &space.name, door);
    write(desk, space, body, "2s");
    desk.run(&["run", "release.yaml"]).expect(0);
    write(desk, space, body, "5m");
    let run = desk.start(&["run", "release.yaml", "--version", "3", "--output", "json"]);
    run.until("soak for 5m");
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    plane.end().served_by(&["1", "2", "3"]);
    let granted: BTreeSet<String> = roles.iter().flat_map(|role| granted(space, role)).collect();
    let used = used(space);
    let unused: Vec<&String> = granted.difference(&used).collect();
    let unexplained: Vec<_> = unused
        .iter()
        .filter(|right| !RARE.iter().chain(later).any(|rare| *rare == right.as_str()))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

#[test]
fn a_release_in_place_uses_all_of_its_role() {
    let space = Space::new("rights-in-place");
    workload(&space, "shop", None);
    let roles = ["in-place", "watching"];
    forward_and_back(&space, &roles, ROLLING, Door::Service("shop"), &[]);
}

#[test]
fn a_release_from_manifests_uses_all_of_its_roles() {
    let space = Space::new("rights-manifests");
    workload(&space, "shop", None);
    let roles = ["in-place", "watching", "manifests"];
    let desk = Desk::of(&space, &roles);
    let mut manifest = space.get(&["deployment", "shop"]);
    let mut greets = |with: &str| {
        let variables = serde_json::json!([{"name": "GREETING", "value": with}]);
        manifest["spec"]["template"]["spec"]["containers"][0]["env"] = variables;
        desk.write("deployment.yaml", &manifest.to_string());
    };
    greets("hello");
    let body = ROLLING.replace(
        "service: shop}",
        "service: shop, manifests: {path: deployment.yaml}}",
    );
    // The second release has the template of the first, which stays.
    let later = ["delete podtemplates."];
    there_and_back(&space, &desk, &roles, &body, Door::Service("shop"), &later);
    greets("good morning");
    let run = desk.start(&["run", "release.yaml", "--version", "4", "--output", "json"]);
    run.until("soak for 5m");
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert!(used(&space).contains(later[0]));
    let told = space.get(&["deployment", "shop"]).to_string();
    assert!(
        told.contains("hello") && !told.contains("good morning"),
        "{told}"
    );
    refused_without_each(&space, &desk, &["in-place", "manifests"]);
}

#[test]
fn a_canary_uses_all_of_its_roles() {
    let space = Space::new("rights-canary");
    workload(&space, "shop", None);
    route(&space);
    let roles = ["in-place", "beside", "gateway-api", "watching"];
    forward_and_back(&space, &roles, CANARY, Door::Route("shop"), &[]);
}

#[test]
fn blue_green_uses_all_of_its_roles() {
    let space = Space::new("rights-blue-green");
    workload(&space, "shop-blue", Some("blue"));
    let roles = ["in-place", "beside", "service-selector"];
    // The side that served before is kept for an hour, and deleted then.
    let later = ["delete deployments.apps"];
    forward_and_back(&space, &roles, BLUE_GREEN, Door::Service("shop"), &later);
}

/// Whichever right is taken away, the run is refused before anything is changed, and the right is named.
#[test]
fn without_any_one_of_its_rights_a_canary_is_refused() {
    let space = Space::new("rights-each");
    workload(&space, "shop", None);
    route(&space);
    let roles = ["in-place", "beside", "gateway-api"];
    let desk = Desk::of(&space, &roles);
    let admin = Desk::admin(&space);
    let plane = Plane::new(admin.kubeconfig(), &space.name, Door::Route("shop"));
    write(&desk, &space, CANARY, "2s");
    desk.run(&["plan", "release.yaml"]).expect(0);
    refused_without_each(&space, &desk, &roles);
    plane.end();
    assert_eq!(space.image("shop"), "registry.test/shop:1");
}

fn refused_without_each(space: &Space, desk: &Desk, roles: &[&str]) {
    let mut all = BTreeSet::new();
    for role in roles {
        all.extend(granted(space, role));
    }
    // Rights that two roles give are taken from both.
    for right in all {
        let (verb, resource) = right.split_once(' ').unwrap();
        for role in roles {
            take(space, role, verb, resource);
        }
        let refused = desk.run(&["plan", "release.yaml"]).expect(3);
        let named = format!("{verb} {}", resource.trim_end_matches('.'));
        let told = refused.stderr.contains(&named) || refused.stderr.contains("PG0408");
        assert!(told, "{right}: {}", refused.stderr);
        for role in roles {
            let manifest = format!("{}/../deploy/rbac/{role}.yaml", env!("CARGO_MANIFEST_DIR"));
            space.kubectl(&["apply", "-f", &manifest]);
        }
    }
}

const ACTIONS: &str = "\
workload: {deployment: shop, container: main, image: 'registry.test/shop:{version}', service: shop}
phases:
  - name: before
    steps:
      - act: {plugin: scale, config: {deployment: worker, replicas: 1}}
      - act: {plugin: scale, config: {deployment: served, replicas: 3, autoscaler: bounds}}
      - act: {plugin: job, config: {image: 'registry.test/tools:1', command: [tools, migrate]}}
      - act: {plugin: event-repair, config: {deployment: worker, job: {image: 'registry.test/tools:1'}}}
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: after
    steps:
      - act: {plugin: configmap, config: {name: settings, set: {mode: 'new'}}}
      - act: {plugin: restart, config: {deployment: cache}}
      - soak: {for: SOAK, every: 1s, gates: [pods]}
";
/// What a release with actions takes.
const ACTING: [&str; 6] = [
    "in-place",
    "scale",
    "restart",
    "configmap",
    "job",
    "event-repair",
];

fn for_actions(name: &str) -> Space {
    let space = Space::new(name);
    crate::acts::beside(&space, &["worker", "cache", "served"]);
    workload(&space, "shop", None);
    let hpa = serde_json::json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "served"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "served"},
            "minReplicas": 2, "maxReplicas": 4,
        },
    });
    space.apply(&hpa).unwrap();
    space.kubectl(&[
        "create",
        "configmap",
        "settings",
        "--from-literal=mode=plain",
    ]);
    space
}

/// Forward, and back from an abort.
#[test]
fn actions_need_no_more_than_their_roles_and_use_all_of_them() {
    let space = for_actions("rights-acts");
    // What makes an object by server-side apply is audited as a patch, and refused without this right.
    let later = ["create jobs.batch"];
    forward_and_back(&space, &ACTING, ACTIONS, Door::Service("shop"), &later);
}

/// A run that could not be undone doesn't begin: what an action needs is asked about like the rest.
#[test]
fn without_any_one_of_the_rights_of_its_actions_a_release_is_refused() {
    let space = for_actions("rights-acts-each");
    let desk = Desk::of(&space, &ACTING);
    write(&desk, &space, ACTIONS, "2s");
    desk.run(&["plan", "release.yaml"]).expect(0);
    refused_without_each(&space, &desk, &ACTING);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
}

const APPLYING: &str = "\
workload: {deployment: shop, container: main, image: 'registry.test/shop:{version}', service: shop}
phases:
  - name: before
    steps:
      - act: {plugin: apply, manifests: {path: policies.yaml}}
  - name: deploy
    strategy: {plugin: rolling, gates: [pods]}
  - name: after
    steps:
      - soak: {for: SOAK, every: 1s, gates: [pods]}
";

/// A flag and a policy, which two releases have in two versions.
fn policies(search: &str) -> String {
    format!(
        "\
apiVersion: v1
kind: ConfigMap
metadata: {{name: flags}}
data: {{search: '{search}'}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: shop-{search}}}
spec: {{podSelector: {{}}}}
"
    )
}

/// The plugin asks for many kinds; a release needs the rights for those of its manifests alone.
#[test]
fn what_manifests_describe_needs_no_more_than_its_kinds() {
    let space = Space::new("rights-apply");
    workload(&space, "shop", None);
    let roles = ["in-place", "watching", "apply"];
    let desk = Desk::of(&space, &roles);
    desk.write("policies.yaml", &policies("plain"));
    // What makes an object by server-side apply is audited as a patch. The first release's ConfigMap stays in the second.
    let later = [
        "create configmaps.",
        "delete configmaps.",
        "create networkpolicies.networking.k8s.io",
        "delete networkpolicies.networking.k8s.io",
    ];
    there_and_back(
        &space,
        &desk,
        &roles,
        APPLYING,
        Door::Service("shop"),
        &later,
    );
    desk.write("policies.yaml", &policies("fuzzy"));
    let run = desk.start(&["run", "release.yaml", "--version", "4", "--output", "json"]);
    run.until("soak for 5m");
    desk.run(&["abort", "--reason", "it doesn't look right"])
        .expect(0);
    run.end().expect(1);
    assert!(used(&space).contains("delete networkpolicies.networking.k8s.io"));
    assert_eq!(
        space.get(&["configmap", "flags"])["data"]["search"],
        "plain"
    );
    refused_without_each(&space, &desk, &["in-place", "apply"]);
}

/// Takes a verb on a resource out of a role.
pub(crate) fn take(space: &Space, role: &str, verb: &str, resource: &str) {
    let name = format!("phasegate-{role}");
    let mut role = space.get(&["role", &name]);
    for rule in role["rules"].as_array_mut().unwrap() {
        let group = rule["apiGroups"][0].as_str().unwrap();
        if format!("{}.{group}", rule["resources"][0].as_str().unwrap()) == resource {
            rule["verbs"].as_array_mut().unwrap().retain(|v| v != verb);
        }
    }
    let rules = role["rules"].as_array_mut().unwrap();
    // A rule without verbs is none.
    rules.retain(|rule| rule["verbs"] != serde_json::json!([]));
    let patch = serde_json::json!({"rules": role["rules"]}).to_string();
    space.kubectl(&["patch", "role", &name, "--type=merge", "-p", &patch]);
}
