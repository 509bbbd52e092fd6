//! The published roles for journals in a cluster are enough, and without any one right of them the commands that they are
//! for are refused, and name it.

use crate::desk::Desk;
use crate::rights::{granted, take};
use crate::space::Space;
use crate::traffic::{ROLLING, workload, write};

/// Makes the roles as they are published.
pub(crate) fn publish(space: &Space) {
    let manifest = format!(
        "{}/../deploy/rbac/in-cluster.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    space.kubectl(&["apply", "-f", &manifest]);
}

pub(crate) fn bind(space: &Space, role: &str, account: &str) {
    let (bound, account) = (
        format!("--role=phasegate-{role}"),
        format!("--serviceaccount={account}"),
    );
    space.kubectl(&["create", "rolebinding", role, &bound, &account]);
}

/// Without each right of the role the command is refused with a code, and the right is named.
#[track_caller]
pub(crate) fn each_is_needed(space: &Space, role: &str, desk: &Desk, command: &[&str]) {
    let rights = granted(space, role);
    assert!(!rights.is_empty());
    for right in rights {
        let (verb, resource) = right.split_once(' ').unwrap();
        take(space, role, verb, resource);
        let refused = desk.run(command);
        let named = format!("{verb} {}", resource.trim_end_matches('.'));
        let told = refused.stderr.contains("error[PG") && refused.stderr.contains(&named);
        assert!(
            told && refused.code != Some(0),
            "{right}: {:?} {}{}",
            refused.code,
            refused.stdout,
            refused.stderr
        );
        publish(space);
    }
}

#[test]
fn a_journal_in_a_cluster_uses_all_of_its_roles() {
    // Beside a claim ConfigMaps may be written for its sake: here the journal's rights stand alone.
    let (space, journal) = (Space::new("rights-away"), Space::new("rights-journal"));
    workload(&space, "shop", None);
    let desk = Desk::of(&space, &["in-place"]);
    write(&desk, &space, ROLLING, "2s");
    publish(&journal);
    let account = format!("{}:deployer", space.name);
    bind(&journal, "in-cluster", &account);
    let state = format!("kubernetes:test/{}", journal.name);
    let run = ["--state", &state, "run", "release.yaml"];
    each_is_needed(&journal, "in-cluster", &desk, &run);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    desk.run(&run).expect(0);
    assert_eq!(space.image("shop"), "registry.test/shop:2");
    // Runs that were refused so late that they were recorded are ended by whoever may.
    let admin = Desk::admin(&space);
    let known = |desk: &Desk| -> serde_json::Value {
        let history = ["--state", &state, "--output", "json", "history"];
        serde_json::from_str(&desk.run(&history).expect(0).stdout).unwrap()
    };
    for run in known(&admin).as_array().unwrap().iter().skip(1) {
        let abort = ["--state", &state, "abort", run["run"].as_str().unwrap()];
        let ended = admin.run(&abort);
        assert!(matches!(ended.code, Some(1 | 3)), "{}", ended.stderr);
    }
    let id = known(&admin)[0]["run"].as_str().unwrap().to_owned();
    // Whoever forgets can do nothing else.
    let forgets = Desk::of(&journal, &[]);
    bind(&journal, "forget", &format!("{}:deployer", journal.name));
    let forget = ["--state", &state, "history", "forget", &id];
    each_is_needed(&journal, "forget", &forgets, &forget);
    forgets.run(&forget).expect(0);
    let label = format!("phasegate.dev/run={id}");
    let left = journal.get(&["configmaps,leases", "-l", &label]);
    assert_eq!(left["items"], serde_json::json!([]));
    // And whoever submits a run needs no more than to make its Job, besides what the journal takes.
    bind(&journal, "submit", &account);
    write(&desk, &space, ROLLING, "5m");
    let submit = ["run", "release.yaml", "--version", "3", "--in-cluster"];
    let place = ["--journal-namespace", &journal.name];
    let image = [
        "--image",
        "registry.test/phasegate:0.1.0",
        "--output",
        "json",
    ];
    let submitted = desk.start(&[&submit[..], &place[..], &image[..]].concat());
    submitted.until("planned");
    let job = journal.until("there is a Job", || {
        let jobs = journal.get(&["jobs"]);
        jobs["items"].as_array()?.first().cloned()
    });
    assert_eq!(
        job["spec"]["template"]["spec"]["serviceAccountName"],
        "phasegate"
    );
}
