//! What a Lease must look like.

use serde_json::Value;

use crate::cluster::json::{at, int};
use crate::cluster::status::{Cause, Failure};

/// What a `MicroTime` looks like; nothing else is read, not even a time of whole seconds.
const MICRO_TIME: &str = "0000-00-00T00:00:00.000000Z";

/// What the decoder would not take.
pub(super) fn shapes(
    new: &Value,
    wrong: impl Fn(&str, &str, &Value) -> Failure,
) -> Result<(), Failure> {
    for field in ["leaseDurationSeconds", "leaseTransitions"] {
        let value = at(new, &["spec", field]);
        if !value.is_null() && value.as_i64().is_none_or(|n| i32::try_from(n).is_err()) {
            return Err(wrong(&format!("LeaseSpec.spec.{field}"), "int32", value));
        }
    }
    for field in ["acquireTime", "renewTime"] {
        let value = at(new, &["spec", field]);
        if !value.is_null() && !value.as_str().is_some_and(is_micro_time) {
            return Err(Failure::bad_request(format!(
                "Lease in version \"v1\" cannot be handled as a Lease: parsing time {value} as \"2006-01-02T15:04:05.000000Z07:00\""
            )));
        }
    }
    Ok(())
}

fn is_micro_time(text: &str) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    text.chars().map(shape).eq(MICRO_TIME.chars())
}

pub(super) fn check(new: &Value, causes: &mut Vec<Cause>) {
    let value = |field: &str| at(new, &["spec", field]);
    if int(new, &["spec", "leaseDurationSeconds"]).is_some_and(|seconds| seconds <= 0) {
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            value("leaseDurationSeconds"),
            "must be greater than 0",
        ));
    }
    if int(new, &["spec", "leaseTransitions"]).is_some_and(|count| count < 0) {
        causes.push(Cause::invalid(
            "spec.leaseTransitions",
            value("leaseTransitions"),
            "must be greater than or equal to 0",
        ));
    }
}
