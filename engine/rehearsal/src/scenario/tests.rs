use std::path::PathBuf;

use super::*;
use crate::scenario::acts::{DeathPoint, Deed, Way};

fn read(text: &str) -> Result<Loaded, Diagnostics> {
    let head = "apiVersion: phasegate.dev/v1alpha1\nkind: Scenario\n";
    load("s.yaml", format!("{head}{text}").as_bytes())
}

fn faults(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// What is told of a scenario that no cluster can be made of.
fn unmade(text: &str) -> String {
    let head = "apiVersion: phasegate.dev/v1alpha1\nkind: Scenario\n";
    read(text).expect("nothing else is wrong with it");
    let refused = load_whole("s.yaml", format!("{head}{text}").as_bytes());
    refused.unwrap_err().to_string()
}

/// The committed file holds what the types say.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test compares a file of the repository"
)]
fn the_committed_schema_is_that_of_the_types() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../schemas/scenario.schema.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    if std::env::var_os("PHASEGATE_UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "schemas/scenario.schema.json is not what the types say; write it anew with PHASEGATE_UPDATE_SCHEMAS=1"
    );
}

#[test]
fn deaths_acts_and_faults_are_read() {
    let loaded = read(
        "deaths:
  - {afterRecord: 7}
  - {at: 3m, resumeAfter: 10m}
  - {afterWrite: {direction: back, nth: 2}}
acts:
  - {at: 1m, by: ada, do: {abort: null}}
  - {when: {line: stuck}, after: 1m, do: retry}
  - {when: {line: due}, after: 25h, do: {dueDone: 2}}
faults:
  - {method: PATCH, kind: Deployment, count: 2, effect: {status: 500}}
",
    )
    .unwrap();
    let deaths = &loaded.scenario.deaths;
    assert_eq!(deaths[0].point, DeathPoint::AfterRecord(7));
    assert_eq!(deaths[0].resume_after, Span::from_secs(5));
    assert_eq!(deaths[1].point, DeathPoint::At(Span::from_mins(3)));
    assert_eq!(deaths[1].resume_after, Span::from_mins(10));
    let direction = Way::Back;
    assert_eq!(
        deaths[2].point,
        DeathPoint::AfterWrite { direction, nth: 2 }
    );
    assert_eq!(loaded.scenario.acts[0].deed, Deed::Abort(None));
    assert_eq!(loaded.scenario.acts[1].deed, Deed::Retry);
    assert_eq!(loaded.scenario.acts[2].deed, Deed::DueDone(2));
}

#[test]
fn what_makes_no_sense_is_told_at_its_place() {
    for (text, part, line) in [
        (
            "http:\n  - {json: {$series: gone}}\n",
            "no series `gone`",
            4,
        ),
        (
            "series:\n  a: {points: [[2m, 1], [1m, 2]]}\n",
            "order of time",
            4,
        ),
        (
            "series:\n  a: {points: []}\n",
            "`points` or `byShare`, one of them",
            4,
        ),
        (
            "series:\n  a: {points: [[0s, 1]], byShare: [[0, 1]]}\n",
            "one of them",
            4,
        ),
        (
            "series:\n  a: {byShare: [[5, 1], [5, 2]]}\ntraffic: [{service: a, perSecond: 1}]\n",
            "order of the share",
            4,
        ),
        (
            "series:\n  a: {byShare: [[0, 1]]}\n",
            "follows `traffic`",
            4,
        ),
        (
            "series:\n  a: {from: traffic, points: [[0s, 1]]}\n",
            "follows `traffic`",
            4,
        ),
        (
            "series:\n  a:\n    points: [[0s, 1]]\n    cases:\n      - {take: gone}\n",
            "no series `gone`",
            7,
        ),
        (
            "prometheus:\n  m.example:\n    - {value: {$series: gone}}\n",
            "no series `gone`",
            5,
        ),
        (
            "prometheus:\n  m.example:\n    - {match: up}\n",
            "`value`, `samples`, `empty` or `error`",
            5,
        ),
        (
            "prometheus:\n  m.example:\n    - {value: 1, empty: true}\n",
            "one of them",
            5,
        ),
        (
            "prometheus:\n  m.example:\n    - {error: 200}\n",
            "no status of an error",
            5,
        ),
        (
            "prometheus:\n  m.example:\n    - {value: many}\n",
            "expected a number, `NaN`",
            5,
        ),
        (
            "cluster:\n  autoscalers:\n    - {hpa: shop, wants: [[2m, 1], [1m, 2]]}\n",
            "order of time",
            5,
        ),
        (
            "cluster:\n  autoscalers:\n    - {hpa: shop, wants: many}\n",
            "expected a number of pods",
            5,
        ),
        (
            "cluster:\n  autoscalers:\n    - {hpa: shop}\n",
            "`wants` or `needs`",
            5,
        ),
        (
            "cluster:\n  autoscalers:\n    - {hpa: shop, needs: 4}\n",
            "needs `traffic`",
            5,
        ),
        (
            "traffic:\n  - {perSecond: 4}\n",
            "at a `service` or at a `route`",
            4,
        ),
        (
            "traffic:\n  - {service: shop, perSecond: 0}\n",
            "perSecond",
            4,
        ),
        (
            "cluster:\n  autoscalerSync: 0s\n",
            "some time between two looks",
            4,
        ),
        ("acts:\n  - {do: retry}\n", "needs `at` or `when`", 4),
        (
            "acts:\n  - {at: 1m, when: {line: x}, do: retry}\n",
            "not both",
            4,
        ),
        ("acts:\n  - {when: {}, do: retry}\n", "says nothing", 4),
        ("deaths:\n  - {resumeAfter: 5m}\n", "", 4),
        ("deaths:\n  - {afterRecord: 1, after: 5m}\n", "after", 4),
        ("clutser: {}\n", "clutser", 3),
        (
            "cluster: {pods: [{image: x, readyAfter: soon}]}\n",
            "soon",
            3,
        ),
    ] {
        let told = faults(text);
        assert!(told.contains(part), "{text}: {told}");
        assert!(told.contains(&format!("s.yaml:{line}:")), "{text}: {told}");
    }
}

#[test]
fn a_scenario_begins_on_a_tuesday_at_eleven_in_new_york_where_it_does_not_say() {
    let start = read("").unwrap().scenario.start();
    assert_eq!(start.to_string(), "2026-11-17T16:00:00.000Z");
    // The first day of 1970 was a Thursday.
    assert_eq!((start.as_millis() / 86_400_000 + 4) % 7, 2);
}

#[test]
fn too_many_entries_and_other_kinds_are_refused() {
    let many = "  - {afterRecord: 1}\n".repeat(MAX_ENTRIES + 1);
    assert!(faults(&format!("deaths:\n{many}")).contains("at most"));
    let other = load(
        "s.yaml",
        b"apiVersion: phasegate.dev/v1alpha1\nkind: Release\n",
    );
    assert!(other.unwrap_err().to_string().contains("Scenario"));
}

#[test]
fn traffic_that_comes_in_at_nothing_is_a_fault_of_the_scenario() {
    let told = unmade("traffic: [{service: shop, perSecond: 4}]\n");
    assert!(told.contains("error[PG0701]"), "{told}");
    assert!(told.contains("no such object"), "{told}");
    assert!(told.contains("s.yaml:3:10"), "{told}");
}

#[test]
fn an_object_that_the_cluster_refuses_is_a_fault_of_the_scenario() {
    let told = unmade("cluster: {objects: [{apiVersion: apps/v1, kind: Deployment}]}\n");
    assert!(told.contains("error[PG0701]"), "{told}");
    assert!(told.contains("s.yaml:3:21"), "{told}");
}

#[test]
fn more_pods_than_a_simulated_cluster_takes_are_refused_where_they_are_asked_for() {
    let deployment = |replicas: &str| {
        faults(&format!(
            "cluster:
  objects:
    - {{apiVersion: v1, kind: Namespace, metadata: {{name: shop}}}}
    - apiVersion: apps/v1
      kind: Deployment
      metadata: {{name: shop}}
      spec:
        replicas: {replicas}
"
        ))
    };
    for (found, shown) in [
        ("100000000", "100000000"),
        ("1001", "1001"),
        ("1e18", "1000000000000000000"),
    ] {
        let told = deployment(found);
        assert!(told.contains("error[PG0701]"), "{told}");
        let message = format!("Deployment of {shown} pods; at most 1000 are taken");
        assert!(told.contains(&message), "{told}");
        assert!(told.contains("s.yaml:10:19"), "{told}");
    }
    let autoscaler = "cluster:
  objects:
    - {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: {maxReplicas: 2000}}
";
    assert!(faults(autoscaler).contains("at most 1000"));
    let many = "    - {apiVersion: apps/v1, kind: Deployment, metadata: {name: N}, spec: {replicas: 1000}}\n";
    let all: String = (0..6)
        .map(|n| many.replace('N', &format!("n{n}")))
        .collect();
    let told = faults(&format!("cluster:\n  objects:\n{all}"));
    assert!(told.contains("6000 pods in all; at most 5000"), "{told}");
}

#[test]
fn an_object_that_the_cluster_refuses_is_told_with_its_line() {
    let told = unmade(
        "cluster:
  objects:
    - {apiVersion: v1, kind: Namespace, metadata: {name: shop}}
    - apiVersion: v1
      kind: Servise
      metadata: {name: shop}
",
    );
    assert!(told.contains("no matches for kind"), "{told}");
    assert!(told.contains("s.yaml:6:"), "{told}");
}
