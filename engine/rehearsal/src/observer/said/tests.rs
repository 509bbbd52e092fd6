use phasegate_core::run::Level;
use serde_json::json;

use super::*;

fn line(kind: &'static str, step: &str, message: &str, data: Value) -> Line {
    Line {
        kind,
        level: Level::Info,
        phase: None,
        step: Some(step.to_owned()),
        attempt: None,
        message: message.to_owned(),
        data,
    }
}

fn said(line: &str, data: Value) -> Said {
    Said {
        line: line.to_owned(),
        data,
        ..Said::default()
    }
}

#[test]
fn data_must_have_at_least_what_is_wanted() {
    let found =
        json!({"gate": "errors", "n": 0.3, "list": [{"a": 1, "b": 2}, {"a": 3}], "on": true});
    for wanted in [
        json!({}),
        json!({"gate": "errors"}),
        json!({"n": 0.1 + 0.2}),
        json!({"list": []}),
        json!({"list": [{"a": 1}, {"a": 3}]}),
        json!({"list": [{"a": 3}]}),
    ] {
        assert!(holds(&found, &wanted, 0), "{wanted}");
    }
    for wanted in [
        json!({"gate": "latency"}),
        json!({"other": null}),
        json!({"n": 0.31}),
        json!({"n": "0.3"}),
        json!({"on": 1}),
        json!({"list": [{"a": 3}, {"a": 1}]}),
        json!({"list": [{"a": 1, "b": 3}]}),
        json!({"list": {}}),
        json!([]),
    ] {
        assert!(!holds(&found, &wanted, 0), "{wanted}");
    }
}

#[test]
fn what_the_run_said_is_found_by_kind_step_words_and_data_each_line_once() {
    let lines = [
        line("gate", "deploy/soak", "errors: pass", json!({"n": 1})),
        line("gate", "deploy/soak", "errors: fail", json!({"n": 2})),
        line("due", "deploy/soak", "tag it", Value::Null),
    ];
    let missing = |wanted: &[Said]| unsaid(wanted, &lines).len();
    let gate = |n: u32| said("gate", json!({"n": n}));
    assert_eq!(missing(&[gate(1), gate(2), said("due", Value::Null)]), 0);
    assert_eq!(missing(&[gate(2), gate(1)]), 1, "in this order");
    assert_eq!(missing(&[gate(2), gate(2)]), 1, "one line is said once");
    assert_eq!(missing(&[said("due", json!({"n": 1}))]), 1);
    let worded = |step: &str, part: &str| Said {
        line: "gate".to_owned(),
        step: Some(step.to_owned()),
        message: Some(part.to_owned()),
        data: Value::Null,
    };
    assert_eq!(missing(&[worded("deploy/soak", "fail")]), 0);
    assert_eq!(missing(&[worded("deploy/check", "fail")]), 1);
    assert_eq!(missing(&[worded("deploy/soak", "hold")]), 1);
}

#[test]
fn figures_are_short() {
    let figures = [0.1 + 0.2, 100.0, 0.0, -1.5, 98.5];
    assert_eq!(figures.map(short), ["0.3", "100", "0", "-1.5", "98.5"]);
}
