//! Actions of the phase, between weights and pauses.

use super::*;

fn with(mut situation: Situation, actions: &[&str]) -> Situation {
    situation.actions = actions.iter().map(|&name| name.to_owned()).collect();
    situation
}

#[test]
fn an_action_is_performed_where_the_list_has_it() {
    let config = json!({ "steps": [
        { "act": "expand" },
        { "setWeight": 10 },
        { "act": "warm" },
        { "pause": { "duration": "1m" } },
        { "act": "expand" },
        { "setWeight": 50 },
        { "act": "warm" },
    ] });
    let situation = with(routed(config.clone()), &["expand", "warm"]);
    let expected = [
        // Before the first weight it is performed before there is a candidate.
        "act-0: act expand",
        "deploy: candidate 10%",
        "route-10: traffic 1000",
        "act-10: act warm",
        "soak-10: 60s every 30s []",
        "act-10-2: act expand",
        "scale-50: candidate 50%",
        "route-50: traffic 5000",
        "act-50: act warm",
        "scale-100: candidate 100%",
        "route-100: traffic 10000",
        "promote: promote",
    ];
    assert_eq!(notes(&situation), expected);

    let situation = with(bare(config), &["expand", "warm"]);
    let expected = [
        "act-0: act expand",
        "deploy: candidate 1",
        "stable-10: stable 9",
        "act-10: act warm",
        "soak-10: 60s every 30s []",
        "act-10-2: act expand",
        "scale-50: candidate 5",
        "stable-50: stable 5",
        "act-50: act warm",
        "scale-100: candidate 100%",
        "promote: promote",
    ];
    assert_eq!(notes(&situation), expected);
}

#[test]
fn an_action_that_the_phase_does_not_have_is_refused_where_it_stands() {
    let config = json!({ "steps": [{ "setWeight": 10 }, { "act": "warn" }] });
    for situation in [routed(config.clone()), bare(config)] {
        let problems = refused(&with(situation.clone(), &["warm"]));
        assert_eq!(problems[0].pointer, "/steps/1/act");
        let message = "the phase has no action `warn`; it has: warm";
        assert_eq!(problems[0].message, message);
        let problems = refused(&situation);
        assert!(problems[0].message.ends_with("it has: none"));
    }
}

#[test]
fn an_action_that_nothing_says_when_to_perform_is_refused() {
    for config in [
        json!({ "weights": [10] }),
        json!({ "stepWeight": 20 }),
        json!({ "steps": [{ "setWeight": 10 }, { "act": "warm" }] }),
    ] {
        let problems = refused(&with(routed(config), &["warm", "expand"]));
        let last = problems.last().unwrap();
        assert_eq!(last.pointer, "");
        assert!(last.message.contains("the action `expand`"), "{problems:?}");
    }
}
