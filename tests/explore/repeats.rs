//! What an action's key may do more than once, and what not.

use phasegate_core::spec::policy::Policy;
use phasegate_rehearsal::scenario::Scenario;
use serde_json::json;

use super::fixture::fixture;
use super::*;

const NAME: &str = "repeats";
/// As many cases as make sure that each of an action's writes is followed by a death.
const CASES: usize = 150;

/// An action that makes its change again where it is asked again.
const RELEASE: &str = r#"
apiVersion: phasegate.dev/v1alpha1
kind: Release
metadata: {name: shop}
version: "1.1.0"
change: minor
target: {simulated: {}}
namespace: shop
workload:
  deployment: shop
  container: app
  image: registry.example/shop:{version}
  service: shop

phases:
  - name: deploy
    strategy: {plugin: rolling}
  - name: after
    steps:
      - act: {plugin: repeats, config: {name: settings}}
"#;

fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// The common world of the scenarios, with what is counted up.
fn world() -> Scenario {
    let text = read(&scenarios().join("world.yaml"));
    let mut world = good(scenario::load("world.yaml", &text)).scenario;
    world.cluster.objects.push(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "shop"},
        "data": {"count": "0"},
    }));
    world
}

#[test]
fn a_write_that_an_action_repeats_after_a_death_is_found() {
    let overrides = Overrides::default();
    let names: Vec<_> = builtin::NAMES.iter().copied().chain([NAME]).collect();
    let loaded = release::load("release.yaml", RELEASE.as_bytes(), &overrides, &names);
    let rolling = plugins::shipped("rolling");
    let rolling = rolling.unwrap_or_else(|fault| panic!("{fault:?}"));
    let inputs = Inputs {
        loaded: &good(loaded),
        policy: &Policy::default(),
        scenario: &world(),
        components: vec![fixture(NAME, read), rolling],
        credentials: Arc::new(compose::Invented),
        cache: None,
        seed: 1,
    };
    let explored = explored_with(&inputs, CASES, None);
    assert!(explored.faults.is_empty(), "{}", in_words(&explored));
    let broken = &explored.findings.broken;
    let repeated = broken.iter().any(|broken| {
        let mut faults = broken.faults.iter();
        broken.case.to_string().contains("death")
            && faults.any(|fault| fault.contains("after/act-1/act changed the world a second time"))
    });
    assert!(repeated, "{}", in_words(&explored));
}

#[test]
fn an_action_of_several_changes_that_finds_out_how_far_it_is_holds() {
    let explored = explored(
        &scenarios().join("66-event-repair"),
        "scenario.yaml",
        limit().max(CASES),
        None,
    );
    assert!(explored.faults.is_empty(), "{}", in_words(&explored));
    assert_eq!(explored.findings.broken_cases, 0, "{}", in_words(&explored));
}
