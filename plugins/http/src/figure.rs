//! One value in the answer's JSON, and what is demanded of it.

use phasegate_plugin::{Measurement, Status};
use phasegate_plugins_shared::limits::{Bands, Range};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::config::is_pointer;
use crate::template::Variables;

/// A value in the answer, and what it must be.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Figure {
    /// JSON pointer to the value.
    pointer: String,
    /// What it must be. `{namespace}`, `{service}`, `{candidateService}` and `{version}` in a text stand for those of the
    /// release.
    #[serde(default)]
    equals: Option<Value>,
    /// It must be less than this.
    #[serde(default)]
    below: Option<f64>,
    /// It must be more than this.
    #[serde(default)]
    above: Option<f64>,
    /// It must be this or less.
    #[serde(default)]
    at_most: Option<f64>,
    /// It must be this or more.
    #[serde(default)]
    at_least: Option<f64>,
    /// Where all is well. Bands are looked at in the order alert, warn, normal. A value in none is
    /// `normal` where no such band is given; otherwise `warn` where `alert` is given and `warn`
    /// isn't; otherwise `alert`.
    #[serde(default)]
    normal: Option<Range>,
    /// Where somebody should look. The gate passes; the release's gate policy may act on the band.
    #[serde(default)]
    warn: Option<Range>,
    /// Where the gate fails.
    #[serde(default)]
    alert: Option<Range>,
    /// How it is called in reports; the pointer where it has no name.
    #[serde(default)]
    name: Option<String>,
    /// Its unit: `ms`, `%`.
    #[serde(default)]
    unit: Option<String>,
}

/// What came of a value.
pub(crate) struct Judged {
    pub(crate) status: Status,
    /// What it is and what is demanded of it, whether it passes or not.
    pub(crate) reason: String,
    pub(crate) measured: Measurement,
}

impl Figure {
    fn limits(&self) -> Range {
        Range {
            below: self.below,
            above: self.above,
            at_most: self.at_most,
            at_least: self.at_least,
        }
    }

    fn bands(&self) -> Bands {
        Bands {
            normal: self.normal,
            warn: self.warn,
            alert: self.alert,
        }
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.pointer)
    }

    /// Faults, with pointers within the figure.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !is_pointer(&self.pointer) {
            let message = format!("`{}` is not a JSON pointer such as /version", self.pointer);
            problems.push(("/pointer".to_owned(), message));
        }
        let numeric = !self.limits().is_empty() || self.bands().any();
        match (&self.equals, numeric) {
            (None, false) => {
                problems.push((String::new(), "nothing is demanded of the value".to_owned()));
            }
            (Some(_), true) => {
                let message = "a value that must equal another needs no limits or bands";
                problems.push(("/equals".to_owned(), message.to_owned()));
            }
            _ => {}
        }
        for name in self.bands().without_limits() {
            let message = "a band needs a limit".to_owned();
            problems.push((format!("/{name}"), message));
        }
        problems
    }

    pub(crate) fn judge(&self, variables: &Variables<'_>, document: &Value) -> Judged {
        let found = document.pointer(&self.pointer).filter(|v| !v.is_null());
        match (&self.equals, found) {
            (_, None) => self.no_data("is missing"),
            (Some(Value::String(text)), Some(found)) => {
                self.compare(&Value::String(variables.in_text(text)), found)
            }
            (Some(wanted), Some(found)) => self.compare(wanted, found),
            (None, Some(found)) => match found.as_f64().filter(|value| value.is_finite()) {
                Some(value) => self.measure(value),
                None => self.no_data(&format!("is {found}, which is no number")),
            },
        }
    }

    fn no_data(&self, what: &str) -> Judged {
        Judged {
            status: Status::Inconclusive,
            reason: format!("no data: {} {what}", self.name()),
            measured: self.measured(None, Status::Inconclusive),
        }
    }

    fn measured(&self, value: Option<f64>, status: Status) -> Measurement {
        let limit = match &self.equals {
            Some(wanted) => format!("= {wanted}"),
            None if !self.limits().is_empty() => self.limits().words(),
            None => self.bands().words(),
        };
        Measurement::new(self.name(), value, status)
            .unit(self.unit.clone().unwrap_or_default())
            .limit(limit)
    }

    fn compare(&self, wanted: &Value, found: &Value) -> Judged {
        let same = if wanted.is_f64() || found.is_f64() {
            // 1 and 1.0 are the same number. Whole numbers are compared as they are: a float can't
            // tell great ones apart.
            wanted.is_number() && wanted.as_f64() == found.as_f64()
        } else {
            wanted == found
        };
        let status = if same { Status::Pass } else { Status::Fail };
        let mut measured = self.measured(found.as_f64(), status);
        // A text has no figure, which isn't for want of data.
        measured.status = status;
        measured.limit = format!("= {wanted}");
        let reason = if same {
            format!("{} is {found}", self.name())
        } else {
            format!("{} is {found} instead of {wanted}", self.name())
        };
        Judged {
            status,
            reason,
            measured,
        }
    }

    fn measure(&self, value: f64) -> Judged {
        let limits = self.limits();
        let within = limits.holds(value);
        let band = self.bands().of(value);
        let status = if within && band != "alert" {
            Status::Pass
        } else {
            Status::Fail
        };
        let demanded = match (within, status) {
            (true, Status::Pass) if limits.is_empty() => format!("which is {band}"),
            (true, Status::Pass) | (false, _) => format!("must be {}", limits.words()),
            (true, _) => format!("must be not in alert ({})", self.bands().words()),
        };
        let unit = match self.unit.as_deref() {
            Some(unit) => format!(" {unit}"),
            None => String::new(),
        };
        Judged {
            status,
            reason: format!("{} is {value}{unit}, {demanded}", self.name()),
            measured: self
                .measured(Some(value), status)
                .band(if within { band } else { "alert" }),
        }
    }
}
