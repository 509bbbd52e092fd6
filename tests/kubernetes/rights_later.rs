//! What comes after the beginning, by whoever comes by: what is owed, and going on where an engine died. Without any one of
//! its rights that is refused or fails with a code, and nothing is lost by it: with all of them it goes through after that.

use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::desk::{Desk, Ended, Started};
use crate::rights::{granted, take, verb_and_resource};
use crate::rights_away::{bind, publish};
use crate::space::Space;
use crate::traffic::{BLUE_GREEN, ROLLING, workload, write};

/// Where the workload is and where the journal is, and the roles there.
struct Places {
    space: Space,
    journal: Space,
    roles: &'static [&'static str],
    desk: Desk,
}

impl Places {
    fn new(name: &str, colour: Option<&str>, roles: &'static [&'static str]) -> Self {
        let (space, journal) = (Space::new(name), Space::new(&format!("{name}-journal")));
        let first = colour.map_or("shop".to_owned(), |colour| format!("shop-{colour}"));
        workload(&space, &first, colour);
        let desk = Desk::of(&space, roles);
        publish(&journal);
        bind(&journal, "in-cluster", &format!("{}:deployer", space.name));
        Self {
            space,
            journal,
            roles,
            desk,
        }
    }

    fn state(&self) -> String {
        format!("kubernetes:test/{}", self.journal.name)
    }

    fn run(&self, desk: &Desk, arguments: &[&str]) -> Ended {
        desk.run(&[&["--state", &self.state()], arguments].concat())
    }

    /// Every right, and the place in which it is given.
    fn rights(&self) -> Vec<(&Space, String)> {
        let here: BTreeSet<String> = self
            .roles
            .iter()
            .flat_map(|role| granted(&self.space, role))
            .collect();
        let there = granted(&self.journal, "in-cluster");
        let here = here.into_iter().map(|right| (&self.space, right));
        let there = there.into_iter().map(|right| (&self.journal, right));
        here.chain(there).collect()
    }

    /// Takes a right from each role that gives it.
    fn without(&self, place: &Space, right: &str) {
        let (verb, resource) = right.split_once(' ').unwrap();
        let roles = match place.name == self.space.name {
            true => self.roles,
            false => &["in-cluster"],
        };
        for role in roles {
            take(place, role, verb, resource);
        }
    }

    fn with_all(&self) {
        publish(&self.journal);
        for role in self.roles {
            let manifest = format!("{}/../deploy/rbac/{role}.yaml", env!("CARGO_MANIFEST_DIR"));
            self.space.kubectl(&["apply", "-f", &manifest]);
        }
    }

    /// Without each of these rights the command is refused or fails, with a code, and `stays` holds after that.
    #[track_caller]
    fn each_is_needed(&self, rights: &[(&Space, String)], command: &[&str], stays: impl Fn(&str)) {
        assert!(!rights.is_empty());
        for (place, right) in rights {
            self.without(place, right);
            let Ended {
                code,
                stdout,
                stderr,
            } = self.run(&self.desk, command);
            assert!(
                code != Some(0) && stderr.contains("error[PG"),
                "{} without {right}: {code:?}\n{stdout}\n{stderr}",
                place.name
            );
            self.with_all();
            stays(&format!("without {right}: {stdout}\n{stderr}"));
        }
    }

    /// What the account has asked for since so many entries of the audit log, there and here.
    fn used_since(&self, before: [usize; 2]) -> BTreeSet<(String, String)> {
        let account = format!("system:serviceaccount:{}:deployer", self.space.name);
        let mut used = BTreeSet::new();
        for (place, before) in [&self.space, &self.journal].into_iter().zip(before) {
            let entries = place.audited().into_iter().skip(before);
            let own = entries.filter(|entry| entry["user"]["username"] == account.as_str());
            used.extend(own.map(|entry| (place.name.clone(), verb_and_resource(&entry))));
        }
        used
    }

    /// The run whose engine dies here, and is known to be dead.
    fn left_by(&self, desk: &Desk, engine: Started) -> String {
        drop(engine);
        let json = |arguments: &[&str]| -> Value {
            let told = self.run(desk, &[&["--output", "json"], arguments].concat());
            serde_json::from_str(&told.expect(0).stdout).unwrap()
        };
        let id = json(&["history"])[0]["run"].as_str().unwrap().to_owned();
        self.space.until("its engine is held for dead", || {
            (json(&["status", &id])["driven"] == false).then_some(())
        });
        id
    }

    fn audited(&self) -> [usize; 2] {
        [&self.space, &self.journal].map(|place| place.audited().len())
    }
}

#[test]
fn what_is_owed_stays_owed_without_any_one_of_the_rights_that_it_takes() {
    let places = Places::new(
        "rights-due",
        Some("blue"),
        &["in-place", "beside", "service-selector"],
    );
    let release = |version: &str| {
        let body = BLUE_GREEN.replace("keep: 1h", "keep: 5s");
        write(&places.desk, &places.space, &body, "1s");
        let run = ["run", "release.yaml", "--version", version];
        places.run(&places.desk, &run).expect(0);
        sleep(Duration::from_secs(6));
    };
    let meet = ["due", "meet"];
    release("2");
    let before = places.audited();
    places.run(&places.desk, &meet).expect(0);
    places.space.only(&["shop-green"]);
    let used = places.used_since(before);
    let rights: Vec<_> = places
        .rights()
        .into_iter()
        .filter(|(place, right)| used.contains(&(place.name.clone(), right.clone())))
        .collect();
    assert!(rights.len() > 8, "{used:?}");
    release("3");
    let still_there = |told: &str| {
        let kept = places.space.get(&["deployments"]).to_string();
        assert!(kept.contains("shop-green"), "{told}");
    };
    places.each_is_needed(&rights, &meet, still_there);
    let told = places.run(&places.desk, &meet).expect(0).stdout;
    assert!(told.contains("done"), "{told}");
    places.space.only(&["shop-blue"]);
}

#[test]
fn nobody_goes_on_with_a_run_without_any_one_of_the_rights_that_it_takes() {
    let places = Places::new("rights-resume", None, &["in-place"]);
    let (space, state) = (&places.space, places.state());
    let admin = Desk::admin(space);
    write(&admin, space, ROLLING, "5m");
    let run = ["--state", &state, "run", "release.yaml", "--output", "json"];
    let run = admin.start(&run);
    run.until("soak for 5m under");
    let id = places.left_by(&admin, run);
    let records = || places.run(&admin, &["history", &id]).expect(0).stdout;
    let before = records();
    let resume = ["resume", &id];
    let untouched = |told: &str| assert_eq!(records(), before, "{told}");
    // The slip of a run that was driven is there already.
    let unused = |(place, right): &(&Space, String)| {
        place.name == places.journal.name && right == "create leases.coordination.k8s.io"
    };
    let mut rights = places.rights();
    rights.retain(|right| !unused(right));
    places.each_is_needed(&rights, &resume, untouched);
    // And with all of them it goes on, and back.
    let abort = ["abort", &id, "--reason", "it doesn't look right"];
    places.run(&places.desk, &abort).expect(1);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    space.only(&["shop"]);
}

/// A run's end is told by a webhook whose key is in a file.
const TOLD: &str = "\
credentials:
  hook: {file: hook, hosts: ['hooks.test:443'], header: 'authorization: Bearer {secret}'}
notifications:
  - {name: people, plugin: webhook, config: {url: 'https://hooks.test/', credential: hook}, on: [succeeded]}
";

/// Whoever drives next takes the abort first, and helps by whatever can be done: no right is asked for that only the way
/// forward takes.
#[test]
fn an_abort_in_the_inbox_lets_go_on_whoever_lacks_a_right() {
    let places = Places::new("rights-aborted", None, &["in-place"]);
    let (space, state) = (&places.space, places.state());
    let admin = Desk::admin(space);
    admin.write("hook", "a-key");
    write(&admin, space, &format!("{ROLLING}{TOLD}"), "5m");
    let run = ["--state", &state, "run", "release.yaml", "--output", "json"];
    let run = admin.start(&run);
    run.until("soak for 5m under");
    let id = places.left_by(&admin, run);
    let hook = admin.kubeconfig().with_file_name("hook");
    fs::remove_file(&hook).unwrap();
    let resume = ["resume", &id];
    // Where the key is missing nobody becomes the engine, and the abort waits.
    let left = places.run(&admin, &["abort", &id]).expect(3).stderr;
    assert!(left.contains("is in its inbox"), "{left}");
    fs::write(&hook, "a-key").unwrap();
    // Only on the way forward is a claim made.
    places.without(space, "create configmaps.");
    places.run(&places.desk, &resume).expect(1);
    assert_eq!(space.image("shop"), "registry.test/shop:1");
    space.only(&["shop"]);
}
