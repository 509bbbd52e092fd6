//! Keys of a Secret are rotated with a release: every other key is the same byte for byte, the Secret that people own is
//! not written, and the old copy goes once its version can't come back any more.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::rights::{granted, take};
use crate::rights_away::{bind, publish};
use crate::space::Space;
use crate::traffic::{workload, write};

const FRESH: &str = "pl4nt3d-by-a-test\nof two lines";
const FRESH_ENCODED: &str = "cGw0bnQzZC1ieS1hLXRlc3QKb2YgdHdvIGxpbmVz";
/// Bytes that are no text: a value that is decoded as text on its way would be another one.
const BYTES: &str = "//79AAEC/w==";

/// The release, whose Secret is versioned so.
fn release(config: &str) -> String {
    format!(
        "\
workload:
  deployment: shop
  container: main
  image: registry.test/shop:{{version}}
  service: shop
  configs: [{config}]
credentials:
  fresh: {{file: fresh, secrets: [db/password]}}
phases:
  - name: deploy
    strategy: {{plugin: rolling, gates: [pods]}}
rollback: {{keep: 1s}}
"
    )
}

const ROTATED: &str = "{secret: db, rotate: {password: {credential: fresh}, token: {random: {length: 40, alphabet: hex}}}}";
const PLAIN: &str = "{secret: db}";

/// A workload whose pods use the Secret.
fn served(space: &Space) {
    let source = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "example.com/database",
        "metadata": {"name": "db"},
        "data": {"user": "c2hvcA==", "password": "b2xk", "token": "b2xkZXI=", "ca.der": BYTES},
    });
    space.apply(&source).unwrap();
    workload(space, "shop", None);
    let uses = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "envFrom": [{"secretRef": {"name": "db"}}]},
    ]}}}});
    space.kubectl(&["patch", "deployment", "shop", "-p", &uses.to_string()]);
    space.kubectl(&["rollout", "status", "deployment/shop", "--timeout=120s"]);
}

/// The name by which the pods refer to the Secret.
fn referred(space: &Space) -> String {
    let found = space.get(&["deployment", "shop"]);
    let name =
        &found["spec"]["template"]["spec"]["containers"][0]["envFrom"][0]["secretRef"]["name"];
    name.as_str().unwrap().to_owned()
}

fn copies(space: &Space) -> BTreeSet<String> {
    let all = space.get(&["secrets", "-l", "app.kubernetes.io/managed-by=phasegate"]);
    let names = all["items"].as_array().unwrap().iter();
    let name = |one: &Value| one["metadata"]["name"].as_str().unwrap().to_owned();
    names.map(name).collect()
}

/// All keys are there, those that weren't rotated byte for byte.
#[track_caller]
fn holds_what_it_should(space: &Space, name: &str) {
    let copy = space.get(&["secret", name]);
    let data = copy["data"].as_object().unwrap();
    let keys: Vec<&String> = data.keys().collect();
    assert_eq!(keys, ["ca.der", "password", "token", "user"]);
    assert_eq!(
        (&data["ca.der"], &data["user"]),
        (&json!(BYTES), &json!("c2hvcA=="))
    );
    assert_eq!(data["password"], FRESH_ENCODED);
    assert_ne!(data["token"], "b2xkZXI=");
    // Forty hexadecimal digits.
    assert_eq!(data["token"].as_str().map(str::len), Some(56));
    assert_eq!(
        (&copy["type"], &copy["immutable"]),
        (&json!("example.com/database"), &json!(true))
    );
    assert!(!copy["metadata"].to_string().contains("pl4nt3d"), "{copy}");
}

struct Journal<'a> {
    state: Option<&'a str>,
    desk: &'a Desk,
}

impl Journal<'_> {
    fn run(&self, arguments: &[&str]) -> crate::desk::Ended {
        let state = self
            .state
            .map_or_else(Vec::new, |state| vec!["--state", state]);
        self.desk.run(&[&state, arguments].concat())
    }

    fn owed(&self) -> Value {
        let told = self.run(&["due", "--output", "json"]).expect(0);
        serde_json::from_str(&told.stdout).unwrap()
    }
}

/// Rotates, releases on, is refused what would lose a value, and rotates again. Returns the copy that is left.
fn rotated_twice(space: &Space, journal: &Journal<'_>) -> String {
    let desk = journal.desk;
    desk.write("fresh", FRESH);
    write(desk, space, &release(ROTATED), "1s");
    let version = || space.get(&["secret", "db"])["metadata"]["resourceVersion"].clone();
    let before = version();
    journal
        .run(&["run", "release.yaml", "--version", "2"])
        .expect(0);
    let first = referred(space);
    holds_what_it_should(space, &first);
    assert_eq!(version(), before, "the Secret itself was written");
    assert_eq!(
        journal.owed(),
        json!([]),
        "what people own is not to be removed"
    );
    // A release that says nothing of it keeps what was rotated.
    write(desk, space, &release(PLAIN), "1s");
    let plan = journal
        .run(&["plan", "release.yaml", "--version", "3"])
        .expect(0);
    assert!(
        plan.stdout.contains(&format!("as {first} already")),
        "{}",
        plan.stdout
    );
    journal
        .run(&["run", "release.yaml", "--version", "3"])
        .expect(0);
    assert_eq!((referred(space), copies(space).len()), (first.clone(), 1));
    // Unless the Secret was changed since.
    let merge = json!({"data": {"user": "b3RoZXI="}}).to_string();
    space.kubectl(&["patch", "secret", "db", "--type=merge", "-p", &merge]);
    let refused = journal
        .run(&["run", "release.yaml", "--version", "4"])
        .expect(3);
    for part in ["PG0425", "password", "token", "base: source"] {
        assert!(refused.stderr.contains(part), "{}", refused.stderr);
    }
    let merge = json!({"data": {"user": "c2hvcA=="}}).to_string();
    space.kubectl(&["patch", "secret", "db", "--type=merge", "-p", &merge]);
    write(desk, space, &release(ROTATED), "1s");
    journal
        .run(&["run", "release.yaml", "--version", "4"])
        .expect(0);
    assert_ne!(referred(space), first);
    holds_what_it_should(space, &referred(space));
    let owed = journal.owed();
    let task = owed[0]["task"].as_str().unwrap_or_default();
    assert!(task.contains(&format!("Secret {first}")), "{owed}");
    space.until("the old pods are gone", || {
        let pods = space.get(&["pods"]).to_string();
        (!pods.contains(&first)).then_some(())
    });
    first
}

/// Whoever meets what is owed needs each right of the published role, and leaves what can't be told as it is.
#[test]
fn every_key_survives_and_the_old_copy_goes_when_its_time_has_come() {
    let space = Space::new("rotation");
    served(&space);
    let desk = Desk::of(&space, &["in-place", "secrets"]);
    let journal = Journal {
        state: None,
        desk: &desk,
    };
    let first = rotated_twice(&space, &journal);
    let run = journal.owed()[0]["run"].as_str().unwrap().to_owned();
    publish(&space);
    bind(&space, "old-copies", &format!("{}:deployer", space.name));
    for right in granted(&space, "old-copies") {
        let (verb, resource) = right.split_once(' ').unwrap();
        // What the roles of a release have as well, or what ConfigMaps alone need.
        if resource == "configmaps." || right == "list pods." || right == "list replicasets.apps" {
            continue;
        }
        take(&space, "old-copies", verb, resource);
        let told = journal.run(&["due", "meet"]);
        assert!(
            told.stdout.contains("still owed"),
            "{right}: {}{}",
            told.stdout,
            told.stderr
        );
        assert!(copies(&space).contains(&first), "{right}");
        publish(&space);
    }
    let told = journal.run(&["due", "meet"]).expect(0);
    assert!(told.stdout.contains("done"), "{}", told.stdout);
    assert_eq!(copies(&space), BTreeSet::from([referred(&space)]));
    assert_eq!(journal.owed(), json!([]));
    space.get(&["secret", "db"]);
    // Its version can't come back any more.
    let refused = journal.run(&["rollback", &run]).expect(3);
    assert!(refused.stderr.contains("PG0607"), "{}", refused.stderr);
}

#[test]
fn the_same_with_a_journal_in_the_cluster() {
    let (space, journal) = (Space::new("rotation-away"), Space::new("rotation-journal"));
    served(&space);
    let desk = Desk::admin(&space);
    let state = format!("kubernetes:test/{}", journal.name);
    let journal = Journal {
        state: Some(&state),
        desk: &desk,
    };
    let first = rotated_twice(&space, &journal);
    journal.run(&["due", "meet"]).expect(0);
    let left = copies(&space);
    assert!(
        !left.contains(&first) && left.contains(&referred(&space)),
        "{left:?}"
    );
    // Nothing is owed: the journals may go, and take no copy that is in use along.
    journal.run(&["history", "forget", "--keep", "0"]).expect(0);
    assert_eq!(copies(&space), BTreeSet::from([referred(&space)]));
}

#[test]
fn a_rotation_needs_each_right_of_its_role() {
    let space = Space::new("rotation-rights");
    served(&space);
    let desk = Desk::of(&space, &["in-place", "secrets"]);
    desk.write("fresh", FRESH);
    write(&desk, &space, &release(ROTATED), "1s");
    for right in granted(&space, "secrets") {
        let (verb, resource) = right.split_once(' ').unwrap();
        let manifest = format!("{}/../deploy/rbac/secrets.yaml", env!("CARGO_MANIFEST_DIR"));
        take(&space, "secrets", verb, resource);
        let refused = desk.run(&["run", "release.yaml"]);
        let named = refused.stderr.contains(&format!("{verb} secrets"));
        assert!(
            named && refused.code == Some(3),
            "{right}: {}",
            refused.stderr
        );
        assert!(copies(&space).is_empty());
        space.kubectl(&["apply", "-f", &manifest]);
    }
    desk.run(&["run", "release.yaml"]).expect(0);
    holds_what_it_should(&space, &referred(&space));
}
