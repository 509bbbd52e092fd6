//! The words in which the tables are written.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One exchange of a table.
pub(super) struct Exchange {
    /// What it is about; differences are called by it.
    pub(super) name: &'static str,
    pub(super) doing: Doing,
    /// What is compared of the answer.
    pub(super) view: fn(&Answer) -> Value,
    /// The name by which later exchanges call what was answered.
    pub(super) keep: Option<&'static str>,
}

pub(super) enum Doing {
    /// One request.
    Ask(Ask),
    /// The same request again and again until the answer is such.
    Until(Ask, fn(&Value) -> bool),
    /// The history of changes is lost.
    Forget,
}

/// A request.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// What stands behind the namespace: `deployments/shop?dryRun=All`.
    pub(super) path: String,
    pub(super) media: &'static str,
    pub(super) body: Option<Value>,
    /// The kept object that the body is a change of.
    over: Option<&'static str>,
}

/// An answer. The body of a watch is the list of its lines.
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: Value,
}

/// A cluster that can be asked.
pub(super) trait Wire {
    fn name(&self) -> &'static str;
    fn send(&mut self, ask: &Ask) -> Answer;
    /// Lets a moment go by.
    fn pass(&mut self);
    /// Loses the history of changes, as far as that can be asked for.
    fn forget(&mut self);
}

/// Who makes requests that don't name a field manager.
pub(super) const AGENT: &str = "agree/1";
const JSON: &str = "application/json";
const APPLY: &str = "application/apply-patch+yaml";

fn ask(name: &'static str, method: &'static str, path: &str, body: Option<Value>) -> Exchange {
    typed(name, method, path, JSON, body)
}

fn typed(
    name: &'static str,
    method: &'static str,
    path: &str,
    media: &'static str,
    body: Option<Value>,
) -> Exchange {
    let ask = Ask {
        method,
        path: path.to_owned(),
        media,
        body,
        over: None,
    };
    Exchange {
        name,
        doing: Doing::Ask(ask),
        view: |answer| answer.body.clone(),
        keep: None,
    }
}

pub(super) fn get(name: &'static str, path: &str) -> Exchange {
    ask(name, "GET", path, None)
}

pub(super) fn post(name: &'static str, path: &str, body: Value) -> Exchange {
    ask(name, "POST", path, Some(body))
}

pub(super) fn put(name: &'static str, path: &str, body: Value) -> Exchange {
    ask(name, "PUT", path, Some(body))
}

/// Puts what was kept under a name, with a change.
pub(super) fn replace(
    name: &'static str,
    path: &str,
    over: &'static str,
    change: Value,
) -> Exchange {
    let mut exchange = put(name, path, change);
    if let Doing::Ask(ask) = &mut exchange.doing {
        ask.over = Some(over);
    }
    exchange
}

pub(super) fn merge(name: &'static str, path: &str, body: Value) -> Exchange {
    let media = "application/merge-patch+json";
    typed(name, "PATCH", path, media, Some(body))
}

pub(super) fn strategic(name: &'static str, path: &str, body: Value) -> Exchange {
    let media = "application/strategic-merge-patch+json";
    typed(name, "PATCH", path, media, Some(body))
}

pub(super) fn operations(name: &'static str, path: &str, body: Value) -> Exchange {
    let media = "application/json-patch+json";
    typed(name, "PATCH", path, media, Some(body))
}

pub(super) fn apply(name: &'static str, path: &str, manager: &str, body: Value) -> Exchange {
    let path = format!("{path}?fieldManager={manager}");
    typed(name, "PATCH", &path, APPLY, Some(body))
}

pub(super) fn force(name: &'static str, path: &str, manager: &str, body: Value) -> Exchange {
    let path = format!("{path}?fieldManager={manager}&force=true");
    typed(name, "PATCH", &path, APPLY, Some(body))
}

pub(super) fn with_media(
    name: &'static str,
    path: &str,
    media: &'static str,
    body: Value,
) -> Exchange {
    typed(name, "PATCH", path, media, Some(body))
}

pub(super) fn delete(name: &'static str, path: &str, options: Value) -> Exchange {
    ask(name, "DELETE", path, Some(options))
}

pub(super) fn until(name: &'static str, path: &str, reached: fn(&Value) -> bool) -> Exchange {
    let mut exchange = get(name, path);
    if let Doing::Ask(ask) = exchange.doing {
        exchange.doing = Doing::Until(ask, reached);
    }
    exchange
}

pub(super) fn forget(name: &'static str) -> Exchange {
    let doing = Doing::Forget;
    Exchange {
        doing,
        ..get(name, "")
    }
}

impl Exchange {
    pub(super) fn keep(self, name: &'static str) -> Self {
        Self {
            keep: Some(name),
            ..self
        }
    }

    pub(super) fn seen_as(self, view: fn(&Answer) -> Value) -> Self {
        Self { view, ..self }
    }

    /// What is answered isn't compared.
    pub(super) fn unseen(self) -> Self {
        self.seen_as(|_| Value::Null)
    }
}

/// What was answered before.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<&'static str, Value>);

impl Kept {
    pub(super) fn keep(&mut self, name: &'static str, answer: &Answer) {
        assert!(answer.code < 300, "{name}: {}", answer.body);
        self.0.insert(name, answer.body.clone());
    }

    /// The request with `$NAME.version`, `$NAME.uid` and `$NAME.name` filled in.
    pub(super) fn filled(&self, ask: &Ask) -> Ask {
        let mut body = ask.body.clone();
        if let Some(over) = ask.over {
            let mut whole = self.0[over].clone();
            merged(&mut whole, body.as_ref().unwrap_or(&json!({})));
            body = Some(whole);
        }
        if let Some(body) = &mut body {
            self.fill(body);
        }
        Ask {
            path: self.text(&ask.path),
            body,
            ..ask.clone()
        }
    }

    fn fill(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.fill(member)),
            _ => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, object) in &self.0 {
            for (field, member) in [
                ("version", "resourceVersion"),
                ("uid", "uid"),
                ("name", "name"),
            ] {
                let value = object["metadata"][member].as_str().unwrap_or_default();
                text = text.replace(&format!("${name}.{field}"), value);
            }
        }
        text
    }
}

/// As a JSON merge patch does it.
fn merged(value: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *value = change.clone();
        return;
    };
    for (name, change) in change {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            merged(&mut value[name], change);
        }
    }
}

impl Ask {
    /// The whole path in a namespace.
    pub(super) fn target(&self, namespace: &str) -> String {
        let path = &self.path;
        if path.starts_with("/api") {
            return path.clone();
        }
        let plural = path.split(['/', '?']).next().unwrap_or_default();
        let group = match plural {
            "deployments" | "replicasets" => "/apis/apps/v1",
            "jobs" => "/apis/batch/v1",
            "leases" => "/apis/coordination.k8s.io/v1",
            "endpointslices" => "/apis/discovery.k8s.io/v1",
            "httproutes" => "/apis/gateway.networking.k8s.io/v1",
            "horizontalpodautoscalers" => "/apis/autoscaling/v2",
            _ => "/api/v1",
        };
        format!("{group}/namespaces/{namespace}/{path}")
    }
}
