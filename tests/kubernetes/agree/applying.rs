//! Server-side apply: who owns what, at odds and by force.

use serde_json::{Value, json};

use super::configmaps::named;
use super::exchange::{Exchange, apply, force, get, merge, with_media};

pub(super) fn table() -> Vec<Exchange> {
    let flags = |data: Value| named("flags", &json!({"data": data}));
    vec![
        apply(
            "applied where nothing is",
            "configmaps/flags",
            "first",
            flags(json!({"a": "1", "b": "1"})),
        )
        .keep("flags"),
        apply(
            "applied once more",
            "configmaps/flags",
            "first",
            flags(json!({"a": "1", "b": "1"})),
        ),
        apply(
            "applied by a second, apart",
            "configmaps/flags",
            "second",
            flags(json!({"c": "1"})),
        ),
        apply(
            "applied by a second, alike",
            "configmaps/flags",
            "second",
            flags(json!({"a": "1", "c": "1"})),
        ),
        apply(
            "applied by a second, at odds",
            "configmaps/flags",
            "second",
            flags(json!({"a": "2", "c": "1"})),
        ),
        apply(
            "at odds in two fields",
            "configmaps/flags",
            "third",
            flags(json!({"a": "2", "b": "2"})),
        ),
        force(
            "applied by force",
            "configmaps/flags",
            "second",
            flags(json!({"a": "2", "c": "1"})),
        ),
        apply(
            "no longer applied",
            "configmaps/flags",
            "first",
            flags(json!({"b": "1"})),
        ),
        apply(
            "no longer applied by anybody",
            "configmaps/flags",
            "second",
            flags(json!({"c": "1"})),
        ),
        merge(
            "changed by somebody who doesn't apply",
            "configmaps/flags?fieldManager=kubectl-edit",
            json!({"data": {"b": "5"}}),
        ),
        apply(
            "at odds with who doesn't apply",
            "configmaps/flags",
            "first",
            flags(json!({"b": "1"})),
        ),
        apply(
            "applied to what was before",
            "configmaps/flags",
            "first",
            named(
                "flags",
                &json!({"metadata": {"name": "flags", "resourceVersion": "$flags.version"}, "data": {"b": "5"}}),
            ),
        ),
        apply(
            "applied to another object",
            "configmaps/flags",
            "first",
            named(
                "flags",
                &json!({"metadata": {"name": "flags", "uid": "00000000-0000-0000-0000-000000000000"}, "data": {"b": "5"}}),
            ),
        ),
        apply(
            "applied to an object that isn't there",
            "configmaps/gone",
            "first",
            named(
                "gone",
                &json!({"metadata": {"name": "gone", "uid": "00000000-0000-0000-0000-000000000000"}}),
            ),
        ),
        with_media(
            "applied by nobody",
            "configmaps/flags",
            "application/apply-patch+yaml",
            flags(json!({"b": "5"})),
        ),
        get("what came of it", "configmaps/flags"),
    ]
}
