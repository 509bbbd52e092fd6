//! The `Status` objects by which the API server says no.

use serde_json::{Value, json};

use super::kinds::Info;

/// A refusal, which becomes a `Status` object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) details: Option<Value>,
    pub(super) retry_after_s: Option<u32>,
}

/// One reason among those for which an object is invalid.
#[derive(Clone, Debug)]
pub(super) struct Cause {
    pub(super) reason: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

impl Cause {
    pub(super) fn required(field: impl Into<String>, hint: &str) -> Self {
        let message = if hint.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {hint}")
        };
        Self {
            reason: "FieldValueRequired",
            field: field.into(),
            message,
        }
    }

    pub(super) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {value}: {why}"),
        }
    }

    pub(super) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self {
            reason: "FieldValueForbidden",
            field: field.into(),
            message: format!("Forbidden: {why}"),
        }
    }

    pub(super) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self {
            reason: "FieldValueDuplicate",
            field: field.into(),
            message: format!("Duplicate value: {value}"),
        }
    }
}

impl Failure {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            retry_after_s: None,
        }
    }

    fn about(code: u16, reason: &'static str, info: &Info, name: &str, message: String) -> Self {
        let mut details = json!({"kind": info.plural});
        if !name.is_empty() {
            super::json::set(&mut details, &["name"], name);
        }
        if !info.group.is_empty() {
            super::json::set(&mut details, &["group"], info.group);
        }
        Self {
            code,
            reason,
            message,
            details: Some(details),
            retry_after_s: None,
        }
    }

    pub(super) fn not_found(info: &Info, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            info,
            name,
            format!("{} \"{name}\" not found", info.qualified()),
        )
    }

    pub(super) fn no_such_path() -> Self {
        let mut failure = Self::plain(
            404,
            "NotFound",
            "the server could not find the requested resource",
        );
        failure.details = Some(json!({}));
        failure
    }

    pub(super) fn already_exists(info: &Info, name: &str) -> Self {
        Self::about(
            409,
            "AlreadyExists",
            info,
            name,
            format!("{} \"{name}\" already exists", info.qualified()),
        )
    }

    pub(super) fn conflict(info: &Info, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": {why}",
            info.qualified()
        );
        Self::about(409, "Conflict", info, name, message)
    }

    /// A create under a name that is taken by an object which is being deleted.
    pub(super) fn still_leaving(info: &Info, name: &str) -> Self {
        let failure = Self::already_exists(info, name);
        let message = format!("object is being deleted: {}", failure.message);
        Self { message, ..failure }
    }

    /// An update that doesn't say of which version, where that has to be said.
    pub(super) fn unversioned(info: &Info, name: &str) -> Self {
        let (field, why) = (
            "metadata.resourceVersion",
            "Invalid value: 0: must be specified for an update",
        );
        let message = format!("{} \"{name}\" is invalid: {field}: {why}", info.qualified());
        let mut failure = Self::about(422, "Invalid", info, name, message);
        if let Some(details) = failure.details.as_mut() {
            let cause = json!({"reason": "FieldValueInvalid", "message": why, "field": field});
            super::json::set(details, &["causes"], json!([cause]));
        }
        failure
    }

    /// A Scale below nothing.
    pub(super) fn negative_scale(name: &str, replicas: i64) -> Self {
        let why = format!("Invalid value: {replicas}: must be greater than or equal to 0");
        let message = format!("Scale.autoscaling \"{name}\" is invalid: spec.replicas: {why}");
        let mut failure = Self::plain(422, "Invalid", message);
        let cause =
            json!({"reason": "FieldValueInvalid", "message": why, "field": "spec.replicas"});
        failure.details =
            Some(json!({"name": name, "group": "autoscaling", "kind": "Scale", "causes": [cause]}));
        failure
    }

    /// Operations that don't fit the object.
    pub(super) fn rejected() -> Self {
        let message = "the server rejected our request due to an error in our request";
        let mut failure = Self::plain(422, "Invalid", message);
        failure.details = Some(json!({}));
        failure
    }

    /// Server-side apply by nobody.
    pub(super) fn no_manager() -> Self {
        let why = "Required value: is required for apply patch";
        let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: {why}");
        let mut failure = Self::plain(422, "Invalid", message);
        let cause =
            json!({"reason": "FieldValueRequired", "message": why, "field": "fieldManager"});
        failure.details =
            Some(json!({"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [cause]}));
        failure
    }

    /// A delete of an object that is another one, or another version of it, than was asked for.
    pub(super) fn precondition(
        info: &Info,
        name: &str,
        what: &str,
        wanted: &str,
        found: &str,
    ) -> Self {
        let became = match what {
            "UID" => "deleted and then recreated",
            _ => "modified",
        };
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been {became}",
            info.qualified_kind()
        );
        let mut failure = Self::about(409, "Conflict", info, name, message);
        if let Some(details) = failure.details.as_mut() {
            super::json::set(details, &["kind"], info.name);
        }
        failure
    }

    pub(super) fn modified(info: &Info, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(info, name, why)
    }

    /// A server-side apply that would take fields from other managers: (manager description, fields).
    pub(super) fn apply_conflict(conflicts: &[(String, Vec<String>)]) -> Self {
        let count: usize = conflicts.iter().map(|(_, fields)| fields.len()).sum();
        let mut causes = Vec::new();
        let mut parts = Vec::new();
        for (who, fields) in conflicts {
            for field in fields {
                let message = format!("conflict with {who}");
                causes.push(
                    json!({"reason": "FieldManagerConflict", "message": message, "field": field}),
                );
            }
            match fields.as_slice() {
                [one] if count == 1 => parts.push(format!("conflict with {who}: {one}")),
                many => parts.push(format!("conflicts with {who}:\n- {}", many.join("\n- "))),
            }
        }
        let noun = if count == 1 { "conflict" } else { "conflicts" };
        let mut failure = Self::plain(
            409,
            "Conflict",
            format!("Apply failed with {count} {noun}: {}", parts.join("\n")),
        );
        failure.details = Some(json!({ "causes": causes }));
        failure
    }

    pub(super) fn invalid(info: &Info, name: &str, causes: &[Cause]) -> Self {
        let shown: Vec<String> = causes
            .iter()
            .map(|c| format!("{}: {}", c.field, c.message))
            .collect();
        let shown = match shown.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let mut failure = Self::about(
            422,
            "Invalid",
            info,
            name,
            format!("{} \"{name}\" is invalid: {shown}", info.qualified_kind()),
        );
        if let Some(details) = failure.details.as_mut() {
            super::json::set(details, &["kind"], info.name);
            let causes: Vec<Value> = causes
                .iter()
                .map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}))
                .collect();
            super::json::set(details, &["causes"], causes);
        }
        failure
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    pub(super) fn expired(asked: u64, oldest: u64) -> Self {
        Self::plain(
            410,
            "Expired",
            format!("too old resource version: {asked} ({oldest})"),
        )
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::plain(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    pub(super) fn unsupported_media(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::plain(415, "UnsupportedMediaType", message)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::plain(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit}"),
        )
    }

    pub(super) fn quota(limit: usize) -> Self {
        Self::plain(
            403,
            "Forbidden",
            format!("exceeded quota: the simulated cluster holds at most {limit} objects"),
        )
    }

    /// A refusal that a fault asks for.
    pub(super) fn injected(code: u16) -> Self {
        let (reason, message) = match code {
            409 => (
                "Conflict",
                "the object has been modified; please apply your changes to the latest version and try again",
            ),
            429 => (
                "TooManyRequests",
                "the server has received too many requests and has asked us to try again later",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            403 => ("Forbidden", "forbidden by an injected fault"),
            404 => (
                "NotFound",
                "the server could not find the requested resource",
            ),
            504 => (
                "Timeout",
                "the server was unable to return a response in the time allotted",
            ),
            _ => (
                "InternalError",
                "an error on the server (\"injected fault\") has prevented the request from succeeding",
            ),
        };
        let mut failure = Self::plain(code, reason, message);
        if code == 429 {
            failure.retry_after_s = Some(1);
            failure.details = Some(json!({"retryAfterSeconds": 1}));
        }
        failure
    }

    pub(super) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        });
        if let Some(details) = &self.details {
            super::json::set(&mut status, &["details"], details.clone());
        }
        status
    }
}
