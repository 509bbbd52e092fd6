use super::*;

mod autoscaler;
mod gateway;
mod objects;
mod picture;
mod pods;
mod requests;
mod rollouts;
mod routers;
mod traffic;
mod writes;

/// A cluster and a hand that asks it things at a moment that moves on.
struct Hand {
    cluster: Cluster,
    now: Timestamp,
}

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";

impl Hand {
    fn new(config: Config) -> Self {
        Self {
            now: config.start,
            cluster: Cluster::new(config),
        }
    }

    fn with_web(config: Config, replicas: i64) -> Self {
        let mut hand = Self::new(config);
        hand.cluster
            .seed(&[web(replicas, "web:1"), service()])
            .unwrap();
        hand
    }

    fn send(&mut self, request: Request) -> (u16, Value) {
        match self.cluster.handle(self.now, &request) {
            Reply::Answer(Answer {
                status,
                body: Body::Full(bytes),
                ..
            }) => (
                status,
                serde_json::from_slice(&bytes)
                    .unwrap_or_else(|_| String::from_utf8(bytes).unwrap().into()),
            ),
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let request = Request::new(method, target);
        self.send(if body.is_null() {
            request
        } else {
            request.json(body)
        })
    }

    fn patch(&mut self, kind: &str, target: &str, body: &Value) -> (u16, Value) {
        let mut request = Request::new("PATCH", target);
        request.content_type = format!("application/{kind}");
        self.send(request.json(body))
    }

    fn apply(&mut self, target: &str, manager: &str, body: &Value) -> (u16, Value) {
        let sign = if target.contains('?') { '&' } else { '?' };
        self.patch(
            "apply-patch+yaml",
            &format!("{target}{sign}fieldManager={manager}"),
            body,
        )
    }

    fn get(&mut self, target: &str) -> Value {
        self.ask("GET", target, &Value::Null).1
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
        self.cluster.advance(self.now);
    }

    /// Runs until a time is over and returns every state of `web` on the way: (replicas, updated, available).
    fn roll(&mut self, span: Span) -> Vec<(i64, i64, i64)> {
        let until = self.now.plus(span);
        let mut seen = Vec::new();
        while let Some(due) = self.cluster.next_due().filter(|due| *due <= until) {
            self.cluster.advance(due);
            let observation = self.cluster.observe();
            let web = &observation.deployments[0];
            let state = (web.replicas, web.updated, web.available);
            if seen.last() != Some(&state) {
                seen.push(state);
            }
        }
        self.now = until;
        self.cluster.advance(until);
        seen
    }

    fn condition(&mut self, kind: &str) -> (String, String) {
        let web = self.get(WEB);
        let conditions = web["status"]["conditions"].as_array().unwrap().clone();
        let found = conditions.iter().find(|c| c["type"] == kind).unwrap();
        (
            found["status"].as_str().unwrap().to_owned(),
            found["reason"].as_str().unwrap().to_owned(),
        )
    }

    fn watch(&mut self, target: &str) -> WatchId {
        match self.cluster.handle(self.now, &Request::new("GET", target)) {
            Reply::Answer(Answer {
                body: Body::Watch(id),
                ..
            }) => id,
            other => panic!("{other:?}"),
        }
    }

    fn drain(&mut self, id: WatchId) -> Vec<Value> {
        self.cluster
            .drain_watch(id)
            .iter()
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    fn revisions(&self) -> Vec<(String, String, i64)> {
        let sets = self.cluster.list(Kind::ReplicaSet, "default");
        let mut out: Vec<_> = sets
            .iter()
            .map(|set| {
                (
                    set["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                    set["spec"]["template"]["spec"]["containers"][0]["image"]
                        .as_str()
                        .unwrap()
                        .to_owned(),
                    set["spec"]["replicas"].as_i64().unwrap(),
                )
            })
            .collect();
        out.sort();
        out
    }
}

fn web(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 8080, "name": "http"}]}]},
            },
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

const STRATEGIC: &str = "strategic-merge-patch+json";
