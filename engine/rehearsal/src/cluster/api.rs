//! The front door: a request in, a reply out.

use std::sync::Arc;

use phasegate_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::faults::Verdict;
use super::json::{at, int, set, take, text};
use super::kinds::{self, Info, Kind};
use super::managers::{self, Writer};
use super::request_log::Outcome;
use super::selector::Selector;
use super::status::Failure;
use super::store::Key;
use super::watch::{WatchId, WatchOptions};
use super::writes::{Ownership, Written};
use super::{Cluster, discovery, merge, pods, table, yaml};

/// The largest body of a request, as in the API server.
const BODY_LIMIT: usize = 3 * 1024 * 1024;
const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
/// What a field manager's name may have at most, as in the API server.
const MANAGER_LIMIT: usize = 128;

/// A request to the API server.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The HTTP method in capitals.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The header `Accept`.
    pub accept: String,
    /// The header `User-Agent`.
    pub user_agent: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without body; the query stands behind `?` in the target, percent-encoded.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self {
            method: method.to_owned(),
            path: decode(path, false),
            query: parse_query(query),
            ..Self::default()
        }
    }

    /// The same with a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        if self.content_type.is_empty() {
            "application/json".clone_into(&mut self.content_type);
        }
        self
    }

    /// The first value of a query parameter, or the empty text.
    pub(super) fn param(&self, name: &str) -> &str {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str())
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.param(name), "true" | "1")
    }

    /// Who owns what this request writes.
    pub(super) fn manager(&self) -> &str {
        match self.param("fieldManager") {
            "" => match self.user_agent.split(['/', ' ']).next() {
                Some("") | None => "unknown",
                Some(agent) => agent,
            },
            manager => manager,
        }
    }
}

/// Splits and decodes a query.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    };
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(pair)
        .collect()
}

/// Undoes percent-encoding; in queries `+` is a space.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits: Vec<u8> = bytes.clone().take(2).collect();
                let code = std::str::from_utf8(&digits)
                    .ok()
                    .and_then(|hex| u8::from_str_radix(hex, 16).ok());
                match code {
                    Some(code) if digits.len() == 2 => {
                        out.push(code);
                        bytes.nth(1);
                    }
                    _ => out.push(byte),
                }
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What comes back.
#[derive(Clone, Debug)]
pub enum Reply {
    /// An HTTP response.
    Answer(Answer),
    /// The connection drops without an answer, because a fault says so.
    Dropped,
    /// There will never be an answer; the connection stays open.
    Held,
}

/// An HTTP response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header `Content-Type`.
    pub content_type: &'static str,
    /// The header `Retry-After` in seconds, if it is to be sent.
    pub retry_after_s: Option<u32>,
    /// What the response carries.
    pub body: Body,
}

/// The body of a response.
#[derive(Clone, Debug)]
pub enum Body {
    /// All of it.
    Full(Vec<u8>),
    /// A stream of changes, to be taken with [`Cluster::drain_watch`].
    Watch(WatchId),
}

impl Answer {
    /// A JSON document.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self::raw(status, value.to_string().into_bytes())
    }

    pub(super) fn raw(status: u16, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type: "application/json",
            retry_after_s: None,
            body: Body::Full(body),
        }
    }

    pub(super) fn text(body: String) -> Self {
        Self {
            status: 200,
            content_type: "text/plain",
            retry_after_s: None,
            body: Body::Full(body.into_bytes()),
        }
    }

    fn failure(failure: &Failure) -> Self {
        Self {
            retry_after_s: failure.retry_after_s,
            ..Self::json(failure.code, &failure.to_value())
        }
    }
}

/// What a path points at.
pub(super) struct Target<'a> {
    pub(super) info: &'static Info,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) sub: &'a str,
}

impl Target<'_> {
    fn key(&self) -> Key {
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
        self.log.record(self.now, request, &outcome);
        self.remember();
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

    fn found(&self, target: &Target<'_>) -> Result<Arc<Value>, Failure> {
        let found = self.store.get(target.info.kind, &target.key());
        found
            .cloned()
            .ok_or_else(|| Failure::not_found(target.info, target.name))
    }

    fn show(&self, request: &Request, target: &Target<'_>, object: &Value, status: u16) -> Answer {
        if table::wanted(&request.accept) {
            let rows = std::iter::once(object);
            let version = text(object, &["metadata", "resourceVersion"]);
            return Answer::json(
                status,
                &table::render(target.info.kind, rows, self.now, version, request),
            );
        }
        if target.info.group == "events.k8s.io" {
            return Answer::json(status, &super::events::as_new_group(object));
        }
        Answer::raw(status, serde_json::to_vec(object).unwrap_or_default())
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
        let objects = self
            .store
            .list(target.info.kind, target.namespace)
            .map(|(_, object)| object);
        let chosen = objects.filter(|object| selector.is_everything() || selector.matches(object));
        if table::wanted(&request.accept) {
            let rows = chosen.map(|object| &**object);
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
        for (index, object) in chosen.enumerate() {
            if index > 0 {
                body.push(b',');
            }
            let written = if target.info.group == "events.k8s.io" {
                serde_json::to_writer(&mut body, &super::events::as_new_group(object))
            } else {
                serde_json::to_writer(&mut body, &**object)
            };
            written.map_err(|error| Failure::bad_request(error.to_string()))?;
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

    fn writer<'r>(&self, request: &'r Request, target: &Target<'r>) -> Result<Writer<'r>, Failure> {
        let manager = request.manager();
        if manager.len() > MANAGER_LIMIT {
            return Err(Failure::bad_request(format!(
                "fieldManager: must not have more than {MANAGER_LIMIT} bytes"
            )));
        }
        Ok(Writer {
            manager,
            subresource: target.sub,
            at: self.now,
        })
    }

    fn put(&mut self, request: &Request, target: &Target<'_>) -> Result<Answer, Failure> {
        let old = self.found(target)?;
        let body = if target.sub == "scale" {
            read_json(request)?
        } else {
            read_object(request, target.info)?
        };
        let name = text(&body, &["metadata", "name"]);
        if !name.is_empty() && name != target.name {
            let message = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            );
            return Err(Failure::bad_request(message));
        }
        let new = if target.sub == "scale" {
            with_scale(&old, &body)?
        } else {
            body
        };
        self.write(request, target, &old, new, Ownership::Tracked)
    }

    fn write(
        &mut self,
        request: &Request,
        target: &Target<'_>,
        old: &Arc<Value>,
        new: Value,
        ownership: Ownership,
    ) -> Result<Answer, Failure> {
        let writer = self.writer(request, target)?;
        let dry = dry_run(request)?;
        self.log
            .object_before(text(old, &["metadata", "resourceVersion"]));
        let Written { object, changed } =
            self.replace(target.info, old, new, &writer, ownership, dry)?;
        self.log
            .object_after(text(&object, &["metadata", "resourceVersion"]), changed);
        if target.sub == "scale" {
            return Ok(Answer::json(200, &scale_of(&object)));
        }
        Ok(self.show(request, target, &object, 200))
    }

    fn patch(&mut self, request: &Request, target: &Target<'_>) -> Result<Answer, Failure> {
        let kind = request
            .content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        if kind.starts_with("application/apply-patch") {
            return self.apply(request, target);
        }
        let old = self.found(target)?;
        let patch = read_json_of(&request.body)?;
        let mut shown = if target.sub == "scale" {
            scale_of(&old)
        } else {
            Value::clone(&old)
        };
        match kind {
            "application/merge-patch+json" => merge::merge(&mut shown, &patch),
            "application/strategic-merge-patch+json" => {
                merge::strategic(&mut shown, &patch).map_err(Failure::bad_request)?;
            }
            "application/json-patch+json" => {
                merge::json_patch(&mut shown, &patch).map_err(|why| Failure {
                    code: 422,
                    reason: "Invalid",
                    message: format!(
                        "the server rejected our request due to an error in our request: {why}"
                    ),
                    details: None,
                    retry_after_s: None,
                })?
            }
            _ => return Err(Failure::unsupported_media(PATCHES)),
        }
        let new = if target.sub == "scale" {
            with_scale(&old, &shown)?
        } else {
            shown
        };
        self.write(request, target, &old, new, Ownership::Tracked)
    }

    fn apply(&mut self, request: &Request, target: &Target<'_>) -> Result<Answer, Failure> {
        if request.param("fieldManager").is_empty() {
            return Err(Failure::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        let mut config = yaml::read(&request.body).map_err(Failure::bad_request)?;
        check_type(&config, target.info)?;
        if !at(&config, &["metadata", "managedFields"]).is_null() {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        let name = text(&config, &["metadata", "name"]);
        if !name.is_empty() && name != target.name {
            return Err(Failure::bad_request(format!(
                "metadata.name: {name} does not match the name on the URL"
            )));
        }
        set(&mut config, &["metadata", "name"], target.name);
        let writer = self.writer(request, target)?;
        let force = request.flag("force");
        match self.store.get(target.info.kind, &target.key()).cloned() {
            Some(old) => {
                let asked = text(&config, &["metadata", "resourceVersion"]).to_owned();
                if !asked.is_empty() && asked != text(&old, &["metadata", "resourceVersion"]) {
                    return Err(Failure::modified(target.info, target.name));
                }
                let new = managers::apply(&old, &config, &writer, force)?;
                self.write(request, target, &old, new, Ownership::Settled)
            }
            None => {
                if !target.sub.is_empty() {
                    return Err(Failure::not_found(target.info, target.name));
                }
                if !text(&config, &["metadata", "resourceVersion"]).is_empty() {
                    return Err(Failure::modified(target.info, target.name));
                }
                let mut start =
                    json!({"apiVersion": target.info.api_version(), "kind": target.info.name});
                set(&mut start, &["metadata", "name"], target.name);
                let new = managers::apply(&start, &config, &writer, force)?;
                let dry = dry_run(request)?;
                let written = self.create(
                    target.info,
                    target.namespace,
                    new,
                    &writer,
                    Ownership::Settled,
                    dry,
                )?;
                self.log.changed(written.changed);
                Ok(self.show(request, target, &written.object, 201))
            }
        }
    }
}

fn dry_run(request: &Request) -> Result<bool, Failure> {
    match request.param("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => Err(Failure::bad_request(format!(
            "dryRun: Unsupported value: \"{other}\": supported values: \"All\""
        ))),
    }
}

fn read_json_of(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::bad_request(format!("error decoding request: {error}")))
}

/// Reads the body of a create, an update or the options of a delete.
pub(super) fn read_json(request: &Request) -> Result<Value, Failure> {
    match request
        .content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
    {
        "" | "application/json" => read_json_of(&request.body),
        "application/yaml" => yaml::read(&request.body).map_err(Failure::bad_request),
        _ => Err(Failure::unsupported_media(
            "application/json, application/yaml",
        )),
    }
}

fn read_object(request: &Request, info: &Info) -> Result<Value, Failure> {
    let object = read_json(request)?;
    check_type(&object, info)?;
    Ok(object)
}

fn check_type(object: &Value, info: &Info) -> Result<(), Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request(
            "error decoding request: the body is not an object",
        ));
    }
    let (version, kind) = (text(object, &["apiVersion"]), text(object, &["kind"]));
    let fits = (version.is_empty() || version == info.api_version())
        && (kind.is_empty() || kind == info.name);
    if fits {
        return Ok(());
    }
    Err(Failure::bad_request(format!(
        "the API version in the data ({version}, Kind={kind}) does not match the expected API version ({}, Kind={})",
        info.api_version(),
        info.name
    )))
}

/// The Scale of a workload.
fn scale_of(object: &Value) -> Value {
    let mut metadata = json!({});
    for name in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        set(
            &mut metadata,
            &[name],
            at(object, &["metadata", name]).clone(),
        );
    }
    let labels = pods::label_text(at(object, &["spec", "selector"]));
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": int(object, &["spec", "replicas"]).unwrap_or_default()},
        "status": {"replicas": int(object, &["status", "replicas"]).unwrap_or_default(), "selector": labels},
    })
}

fn with_scale(old: &Value, scale: &Value) -> Result<Value, Failure> {
    let replicas = int(scale, &["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        return Err(Failure::bad_request(
            "spec.replicas: Invalid value: must be greater than or equal to 0",
        ));
    }
    let mut new = old.clone();
    set(&mut new, &["spec", "replicas"], replicas);
    match at(scale, &["metadata", "resourceVersion"]).as_str() {
        Some(version) if !version.is_empty() => {
            set(&mut new, &["metadata", "resourceVersion"], version)
        }
        _ => drop(take(&mut new, &["metadata", "resourceVersion"])),
    }
    Ok(new)
}

/// Which kind a request is about; faults choose by it.
pub(super) fn kind_of(request: &Request) -> Option<Kind> {
    target(&request.path).map(|target| target.info.kind)
}
