//! A scripted Prometheus: what queries are answered.

use std::collections::BTreeMap;

use phasegate_core::time::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the queries that fit are answered; the first rule that fits counts, and where none fits there is no data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PromRule {
    /// A part of the PromQL query; a star stands for anything. None: every query.
    #[serde(rename = "match", default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Only from this time on, since the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Span>,
    /// Only before this time, since the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// The first so many queries that fit go past this rule.
    #[serde(default)]
    pub skip: u32,
    /// How many queries it answers; none is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// One series without labels, with this figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Figure>,
    /// These series.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// No series: there is no data.
    #[serde(default)]
    pub empty: bool,
    /// An error with this status: 400 (`bad_data`), 422 (`execution`), 500 (`internal`), 503 (`timeout`), …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<u16>,
    /// How long the answer takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sample {
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its figure.
    pub value: Figure,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a number, `NaN`, `+Inf`, `-Inf` or `{$series: NAME}`"
)]
pub enum Figure {
    /// Always this.
    Number(f64),
    /// `NaN`, `+Inf` or `-Inf`.
    Special(Special),
    /// That of a series; where it has no data there is no sample.
    Series {
        /// Its name.
        #[serde(rename = "$series")]
        series: String,
    },
}

/// What is no number and yet a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Special {
    /// Not a number: nothing divided by nothing.
    #[serde(rename = "NaN")]
    NaN,
    /// More than any number.
    #[serde(rename = "+Inf")]
    Infinite,
    /// Less than any number.
    #[serde(rename = "-Inf")]
    NegativeInfinite,
}

impl PromRule {
    /// What makes no sense about it, apart from names.
    ///
    /// # Errors
    /// Why it makes none.
    pub fn check(&self) -> Result<(), String> {
        let answers = [
            self.value.is_some(),
            !self.samples.is_empty(),
            self.empty,
            self.error.is_some(),
        ];
        if answers.iter().filter(|given| **given).count() != 1 {
            return Err(
                "a query is answered by `value`, `samples`, `empty` or `error`, one of them"
                    .to_owned(),
            );
        }
        match self.error {
            Some(status) if !(400..600).contains(&status) => {
                Err(format!("{status} is no status of an error"))
            }
            _ => Ok(()),
        }
    }

    /// The series that its answer names.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.figures().filter_map(|figure| match figure {
            Figure::Series { series } => Some(series.as_str()),
            Figure::Number(_) | Figure::Special(_) => None,
        })
    }

    fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.value
            .iter()
            .chain(self.samples.iter().map(|sample| &sample.value))
    }

    /// Whether a query fits the pattern: its parts stand in it, in their order.
    #[must_use]
    pub fn fits(&self, query: &str) -> bool {
        let mut rest = query;
        for part in self.query.as_deref().unwrap_or_default().split('*') {
            match rest.split_once(part) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        true
    }
}
