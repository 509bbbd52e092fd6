//! The front door: finds what a request is about and who answers it.

use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::Value;

use super::changes::{dry_run, read_object};
use super::faults::Verdict;
use super::json::text;
use super::kinds::{self, Info, Kind};
use super::request::{Answer, Body, Reply, Request};
use super::request_log::Outcome;
use super::scale::scale_of;
use super::selector::Selector;
use super::status::Failure;
use super::store::Key;
use super::watch::WatchOptions;
use super::writes::Ownership;
use super::{Cluster, discovery, table};

/// The largest body of a request, as in the API server.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// What a path points at.
pub(super) struct Target<'a> {
    pub(super) info: &'static Info,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) sub: &'a str,
}

impl Target<'_> {
    pub(super) fn key(&self) -> Key {
        Key::new(self.namespace, self.name)
    }
}

/// What a path of the resource API points at.
pub(super) fn target(path: &str) -> Option<Target<'_>> {
    let mut parts = path.trim_matches('/').split('/');
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let rest: Vec<&str> = parts.collect();
    let (namespace, plural, name, sub) = match rest.as_slice() {
        ["namespaces"] => ("", "namespaces", "", ""),
        ["namespaces", name] => ("", "namespaces", *name, ""),
        ["namespaces", name, sub @ ("status" | "finalize")] => ("", "namespaces", *name, *sub),
        ["namespaces", namespace, plural] => (*namespace, *plural, "", ""),
        ["namespaces", namespace, plural, name] => (*namespace, *plural, *name, ""),
        ["namespaces", namespace, plural, name, sub] => (*namespace, *plural, *name, *sub),
        [plural] => ("", *plural, "", ""),
        [plural, name] => ("", *plural, *name, ""),
        _ => return None,
    };
    let info = kinds::by_path(group, version, plural)?;
    let fits = if info.namespaced {
        name.is_empty() || !namespace.is_empty()
    } else {
        namespace.is_empty()
    };
    let known = sub.is_empty() || info.subresources.contains(&sub);
    (fits && known).then_some(Target {
        info,
        namespace,
        name,
        sub,
    })
}

impl Cluster {
    /// Answers a request at a moment; what is due by then happens first.
    pub fn handle(&mut self, now: Timestamp, request: &Request) -> Reply {
        self.advance(now);
        let version_before = self.store.version();
        let verdict = self.next_fault(request);
        self.begin_move();
        let answer = match &verdict {
            Verdict::Refuse(code) => Err(Failure::injected(*code)),
            Verdict::Lose => Err(Failure::injected(504)),
            Verdict::None | Verdict::LoseAnswer | Verdict::HoldAnswer => self.route(request),
        };
        let held = matches!(verdict, Verdict::HoldAnswer);
        let dropped = held || matches!(verdict, Verdict::Lose | Verdict::LoseAnswer);
        let answer = answer.unwrap_or_else(|failure| Answer::failure(&failure));
        if let (true, Body::Watch(id)) = (dropped, &answer.body) {
            self.close_watch(*id);
        }
        let outcome = Outcome {
            status: if dropped { None } else { Some(answer.status) },
            injected: !matches!(verdict, Verdict::None),
            version_before,
            version_after: self.store.version(),
        };
        let seq = self.log.record(self.now, request, &outcome);
        self.end_move(seq);
        self.look_around();
        if held {
            Reply::Held
        } else if dropped {
            Reply::Dropped
        } else {
            Reply::Answer(answer)
        }
    }

    fn route(&mut self, request: &Request) -> Result<Answer, Failure> {
        if request.body.len() > BODY_LIMIT {
            return Err(Failure::too_large(BODY_LIMIT));
        }
        let Some(target) = target(&request.path) else {
            return discovery::answer(request).ok_or_else(Failure::no_such_path);
        };
        if target.info.group == "events.k8s.io" && request.method != "GET" {
            return Err(Failure::method_not_allowed());
        }
        match (request.method.as_str(), target.name.is_empty(), target.sub) {
            ("GET", true, _) => self.collection(request, &target),
            ("POST", true, _) => self.post(request, &target),
            ("DELETE", true, _) => self.delete_collection(request, &target),
            ("GET", false, "log") => self.pod_log(request, &target.key()).map(Answer::text),
            ("GET", false, "scale") => self
                .found(&target)
                .map(|object| Answer::json(200, &scale_of(&object))),
            ("GET", false, _) => {
                let object = self.found(&target)?;
                Ok(self.show(request, &target, &object, 200))
            }
            ("PUT", false, _) => self.put(request, &target),
            ("PATCH", false, _) => self.patch(request, &target),
            ("DELETE", false, "") => self.delete(request, &target),
            _ => Err(Failure::method_not_allowed()),
        }
    }

    pub(super) fn found(&self, target: &Target<'_>) -> Result<Arc<Value>, Failure> {
        let found = self.store.get(target.info.kind, &target.key());
        found
            .cloned()
            .ok_or_else(|| Failure::not_found(target.info, target.name))
    }

    pub(super) fn show(
        &self,
        request: &Request,
        target: &Target<'_>,
        object: &Arc<Value>,
        status: u16,
    ) -> Answer {
        if table::wanted(&request.accept) {
            let rows = std::iter::once(&**object);
            let version = text(object, &["metadata", "resourceVersion"]);
            return Answer::json(
                status,
                &table::render(target.info.kind, rows, self.now, version, request),
            );
        }
        if target.info.group == "events.k8s.io" {
            return Answer::json(status, &super::events::as_new_group(object));
        }
        let text = self.store.text(target.info.kind, &target.key(), object);
        Answer::raw(status, text.to_vec())
    }

    fn collection(&mut self, request: &Request, target: &Target<'_>) -> Result<Answer, Failure> {
        let selector = Selector::parse(
            request.param("labelSelector"),
            request.param("fieldSelector"),
        )
        .map_err(Failure::bad_request)?;
        if request.flag("watch") {
            return self.start_watch(request, target, selector);
        }
        let version = self.store.version().to_string();
        let objects = self.store.list(target.info.kind, target.namespace);
        let chosen =
            objects.filter(|(_, object)| selector.is_everything() || selector.matches(object));
        if table::wanted(&request.accept) {
            let rows = chosen.map(|(_, object)| &**object);
            return Ok(Answer::json(
                200,
                &table::render(target.info.kind, rows, self.now, &version, request),
            ));
        }
        let mut body = format!(
            "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"items\":[",
            target.info.name,
            target.info.api_version()
        )
        .into_bytes();
        for (index, (key, object)) in chosen.enumerate() {
            if index > 0 {
                body.push(b',');
            }
            if target.info.group == "events.k8s.io" {
                serde_json::to_writer(&mut body, &super::events::as_new_group(object))
                    .map_err(|error| Failure::bad_request(error.to_string()))?;
            } else {
                body.extend_from_slice(&self.store.text(target.info.kind, key, object));
            }
        }
        body.extend_from_slice(b"]}");
        Ok(Answer::raw(200, body))
    }

    fn start_watch(
        &mut self,
        request: &Request,
        target: &Target<'_>,
        selector: Selector,
    ) -> Result<Answer, Failure> {
        let version = match request.param("resourceVersion") {
            "" => 0,
            text => text
                .parse()
                .map_err(|_| Failure::bad_request(format!("invalid resource version: {text}")))?,
        };
        let timeout = request
            .param("timeoutSeconds")
            .parse()
            .ok()
            .map(Span::from_secs);
        let options = WatchOptions {
            kind: target.info.kind,
            namespace: target.namespace.to_owned(),
            selector,
            version,
            bookmarks: request.flag("allowWatchBookmarks"),
            initial: request.flag("sendInitialEvents"),
            timeout,
            request: table::wanted(&request.accept).then(|| Box::new(request.clone())),
        };
        let id = self.open_watch(options)?;
        Ok(Answer {
            status: 200,
            content_type: "application/json",
            retry_after_s: None,
            body: Body::Watch(id),
        })
    }

    fn post(&mut self, request: &Request, target: &Target<'_>) -> Result<Answer, Failure> {
        let object = read_object(request, target.info)?;
        let declared = text(&object, &["metadata", "namespace"]);
        if target.info.namespaced && !declared.is_empty() && declared != target.namespace {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if target.info.namespaced && target.namespace.is_empty() {
            return Err(Failure::method_not_allowed());
        }
        let writer = self.writer(request, target)?;
        let dry = dry_run(request)?;
        let written = self.create(
            target.info,
            target.namespace,
            object,
            &writer,
            Ownership::Tracked,
            dry,
        )?;
        self.log.changed(written.changed);
        Ok(self.show(request, target, &written.object, 201))
    }
}

/// Which kind a request is about; faults choose by it.
pub(super) fn kind_of(request: &Request) -> Option<Kind> {
    target(&request.path).map(|target| target.info.kind)
}
