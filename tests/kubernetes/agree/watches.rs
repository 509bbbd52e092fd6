//! Watches.

use serde_json::{Value, json};

use super::exchange::{Exchange, delete, forget, get, merge, post, until};
use super::views::changes;

const BOOKMARKS: &str = "configmaps?watch=true&timeoutSeconds=4&allowWatchBookmarks=true&resourceVersion=$start.version&labelSelector=of%3Dnone";

/// So many lines came, which may take more than one try where the server is slow.
fn are<const N: usize>(lines: &Value) -> bool {
    lines.as_array().is_some_and(|lines| lines.len() >= N)
}

pub(super) fn table() -> Vec<Exchange> {
    let map = |name: &str, of: &str| json!({"metadata": {"name": name, "labels": {"of": of}}, "data": {"n": "1"}});
    let watch = |query: &str| format!("configmaps?watch=true&timeoutSeconds=1&{query}");
    let put = |data: Value| json!({"data": data});
    vec![
        post("the first", "configmaps", map("one", "a"))
            .unseen()
            .keep("start"),
        post("the second", "configmaps", map("two", "b")).unseen(),
        merge(
            "the first changes",
            "configmaps/one",
            put(json!({"n": "2"})),
        )
        .unseen()
        .keep("middle"),
        merge(
            "the first changes and doesn't",
            "configmaps/one",
            put(json!({"n": "2"})),
        )
        .unseen(),
        merge(
            "the first is no longer chosen",
            "configmaps/one",
            json!({"metadata": {"labels": {"of": "b"}}}),
        )
        .unseen(),
        delete("the second goes", "configmaps/two", json!({})).unseen(),
        until(
            "all since the first",
            &watch("resourceVersion=$start.version"),
            are::<4>,
        )
        .seen_as(changes),
        until(
            "all since the middle",
            &watch("resourceVersion=$middle.version"),
            are::<2>,
        )
        .seen_as(changes),
        until(
            "those that are chosen",
            &watch("resourceVersion=$start.version&labelSelector=of%3Da"),
            are::<2>,
        )
        .seen_as(changes),
        until(
            "one by its name",
            &watch("resourceVersion=$start.version&fieldSelector=metadata.name%3Dtwo"),
            are::<2>,
        )
        .seen_as(changes),
        until(
            "what is there, and what comes",
            &watch("labelSelector=of%3Db"),
            are::<1>,
        )
        .seen_as(changes),
        until(
            "what is there, of any age",
            &watch("resourceVersion=0&labelSelector=of%3Db"),
            are::<1>,
        )
        .seen_as(changes),
        until(
            "a line as a whole",
            &watch("resourceVersion=$start.version&fieldSelector=metadata.name%3Done"),
            are::<1>,
        )
        .seen_as(|answer| json!({"line": answer.body[0]})),
        get("a version that is none", &watch("resourceVersion=newest")),
        // They aren't promised, so that it is watched until one comes.
        until("with bookmarks", BOOKMARKS, are::<1>)
            .seen_as(|answer| json!({"first": answer.body[0]})),
        forget("what was is forgotten"),
        // The real one never knew what was before the kind was defined.
        until(
            "a version that is forgotten",
            "httproutes?watch=true&timeoutSeconds=1&resourceVersion=1",
            are::<1>,
        )
        .seen_as(|answer| json!({"lines": answer.body})),
    ]
}
