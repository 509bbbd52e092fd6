//! Which rights there are, asked of the cluster.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Reply, Server};
use crate::kubernetes::rights::Right;

const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
const ACCESS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

fn right(verb: &'static str) -> Right {
    Right::on_deployment("shop", verb, "web")
}

fn all() -> BTreeSet<Right> {
    ["get", "list", "patch", "delete"].map(right).into()
}

fn rules(incomplete: bool) -> Value {
    let rule = json!({"verbs": ["*"], "apiGroups": ["apps"], "resources": ["deployments"]});
    json!({"status": {"resourceRules": [rule], "nonResourceRules": [], "incomplete": incomplete}})
}

/// The verbs that were asked about one by one, where the rules are answered so and all else is allowed.
async fn asked(rules: Reply) -> Vec<String> {
    let allowed = json!({"status": {"allowed": true}});
    let server = Server::default()
        .on("POST", RULES, vec![rules])
        .ok("POST", ACCESS, allowed);
    let missing = server.cluster().missing(&all()).await.unwrap();
    assert_eq!(missing, []);
    let seen = server.seen.lock().unwrap();
    let verb = |body: &Value| body.pointer("/spec/resourceAttributes/verb").cloned();
    let verbs = seen.iter().filter_map(|seen| verb(&seen.body));
    verbs
        .map(|verb| verb.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn rights_to_read_are_asked_about_at_once_where_the_cluster_can_say() {
    let told = asked(Reply::Json(201, rules(false))).await;
    assert_eq!(
        told,
        ["delete", "patch"],
        "what changes something is asked about"
    );
}

#[tokio::test]
async fn each_right_is_asked_about_where_the_cluster_cannot_say_all() {
    let each = ["delete", "get", "list", "patch"];
    assert_eq!(asked(Reply::Json(201, rules(true))).await, each);
    assert_eq!(asked(Reply::Text(500, "no")).await, each);
    let unsure = json!({"status": {"resourceRules": [], "evaluationError": "no rules of one"}});
    assert_eq!(asked(Reply::Json(201, unsure)).await, each);
}

#[tokio::test]
async fn what_no_rule_gives_is_missing_when_the_cluster_says_so() {
    let none = json!({"status": {"resourceRules": [], "incomplete": false}});
    let refused = json!({"status": {"allowed": false}});
    let server = Server::default()
        .ok("POST", RULES, none)
        .ok("POST", ACCESS, refused);
    let missing = server.cluster().missing(&all()).await.unwrap();
    assert_eq!(missing.len(), 4);
}
