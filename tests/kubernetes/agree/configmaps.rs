//! ConfigMaps, as which claims are kept, and what holds for objects of every kind.

use serde_json::{Value, json};

use super::exchange::{
    Exchange, delete, get, merge, operations, post, put, replace, strategic, with_media,
};

fn claim(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "claim", "labels": {"of": "agree"}}, "data": data})
}

pub(super) fn named(name: &str, more: &Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let more = more.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
    object
}

pub(super) fn table() -> Vec<Exchange> {
    [ordinary(), refused(), removed()]
        .into_iter()
        .flatten()
        .collect()
}

fn ordinary() -> Vec<Exchange> {
    let data = |run: &str| claim(&json!({"run": run}));
    vec![
        get("what isn't there is asked for", "configmaps/claim"),
        post("made on trial", "configmaps?dryRun=All", data("r-1")),
        get("what was made on trial isn't there", "configmaps/claim"),
        post("made", "configmaps?fieldManager=phasegate", data("r-1")).keep("made"),
        post("made once more", "configmaps", data("r-2")),
        get("read", "configmaps/claim"),
        get("listed by label", "configmaps?labelSelector=of%3Dagree"),
        get(
            "listed by name",
            "configmaps?fieldSelector=metadata.name%3Dclaim",
        ),
        get(
            "listed by a label that none has",
            "configmaps?labelSelector=of%3Dnobody",
        ),
        get(
            "listed by a selector that is none",
            "configmaps?labelSelector=%3D%3D",
        ),
        replace(
            "put as it was read",
            "configmaps/claim",
            "made",
            json!({"data": {"run": "r-3"}}),
        )
        .keep("put"),
        replace(
            "put as it was before",
            "configmaps/claim",
            "made",
            json!({"data": {"run": "r-4"}}),
        ),
        replace(
            "put with another uid",
            "configmaps/claim",
            "put",
            json!({"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}}),
        ),
        replace("put and unchanged", "configmaps/claim", "put", json!({})),
        put("put whatever it was", "configmaps/claim", data("r-5")),
        put("put under another name", "configmaps/other", data("r-5")),
        put(
            "put where nothing is",
            "configmaps/none",
            named(
                "none",
                &json!({"metadata": {"name": "none", "resourceVersion": "1"}}),
            ),
        ),
        merge(
            "merged",
            "configmaps/claim?fieldManager=second",
            json!({"data": {"by": "ada"}}),
        )
        .keep("merged"),
        merge(
            "merged and unchanged",
            "configmaps/claim?fieldManager=third",
            json!({"data": {"by": "ada"}}),
        ),
        merge(
            "merged into what was before",
            "configmaps/claim",
            json!({"metadata": {"resourceVersion": "$made.version"}, "data": {"by": "eve"}}),
        ),
        merge(
            "merged where nothing is",
            "configmaps/none",
            json!({"data": {"by": "ada"}}),
        ),
        merge(
            "taken out by merging",
            "configmaps/claim",
            json!({"data": {"by": null}}),
        ),
        strategic(
            "merged strategically",
            "configmaps/claim",
            json!({"metadata": {"annotations": {"a": "b"}}}),
        ),
        operations(
            "changed by operations",
            "configmaps/claim",
            json!([{"op": "test", "path": "/data/run", "value": "r-5"}, {"op": "replace", "path": "/data/run", "value": "r-6"}]),
        ),
        operations(
            "operations on what isn't so",
            "configmaps/claim",
            json!([{"op": "test", "path": "/data/run", "value": "r-1"}]),
        ),
        post(
            "named by lot",
            "configmaps",
            json!({"metadata": {"generateName": "drawn-"}}),
        ),
    ]
}

fn refused() -> Vec<Exchange> {
    vec![
        post(
            "a name that is none",
            "configmaps",
            named("Claim_1", &json!({})),
        ),
        post(
            "no name",
            "configmaps",
            json!({"apiVersion": "v1", "kind": "ConfigMap"}),
        ),
        post(
            "data that isn't text",
            "configmaps",
            named("number", &json!({"data": {"run": 1}})),
        ),
        post(
            "another kind",
            "configmaps",
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}),
        ),
        post(
            "another namespace",
            "configmaps",
            json!({"metadata": {"name": "x", "namespace": "elsewhere"}}),
        ),
        post(
            "labels that are none",
            "configmaps",
            json!({"metadata": {"name": "x", "labels": {"a b": "c"}}}),
        ),
        with_media(
            "a patch of an unknown medium",
            "configmaps/claim",
            "text/plain",
            json!({}),
        ),
        get(
            "a resource that isn't served",
            "/apis/test.phasegate.dev/v1/trifles/x",
        ),
        post(
            "fixed for good",
            "configmaps",
            named("fixed", &json!({"immutable": true, "data": {"a": "1"}})),
        )
        .unseen(),
        merge(
            "changed although it is fixed",
            "configmaps/fixed",
            json!({"data": {"a": "2"}}),
        ),
    ]
}

fn removed() -> Vec<Exchange> {
    let only = |conditions: Value| json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions});
    vec![
        delete(
            "removed if it were another",
            "configmaps/claim",
            only(json!({"uid": "00000000-0000-0000-0000-000000000000"})),
        ),
        delete(
            "removed if it were as before",
            "configmaps/claim",
            only(json!({"resourceVersion": "$made.version"})),
        ),
        delete(
            "removed on trial",
            "configmaps/claim",
            json!({"dryRun": ["All"]}),
        ),
        delete(
            "removed if it is the same",
            "configmaps/claim",
            only(json!({"uid": "$made.uid"})),
        ),
        delete("removed once more", "configmaps/claim", json!({})),
        post(
            "held by a finalizer",
            "configmaps",
            json!({"metadata": {"name": "held", "finalizers": ["test.phasegate.dev/hold"]}}),
        ),
        delete("removed although it is held", "configmaps/held", json!({})),
        post(
            "made while it is leaving",
            "configmaps",
            named("held", &json!({})),
        ),
        merge(
            "let go",
            "configmaps/held",
            json!({"metadata": {"finalizers": null}}),
        ),
        get("gone then", "configmaps/held"),
    ]
}
