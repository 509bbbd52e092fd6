//! What Prometheus' HTTP API answers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

/// How many label names are listed where series differ.
const LISTED: usize = 6;

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reply {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) data: Option<Data>,
    #[serde(default)]
    pub(crate) error_type: String,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Data {
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<Sample>,
    #[serde(default)]
    values: Option<Vec<Sample>>,
}

/// `[1795611502.491, "10.2"]`: seconds, and the number as a text, since JSON knows no NaN.
#[derive(Deserialize)]
struct Sample(f64, Value);

/// A value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// None where it is no finite number.
    pub(crate) value: Option<f64>,
}

/// What is in an answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// The points of the one series; exactly one of an instant query.
    Points(Vec<Point>),
    /// Why there is nothing to judge by.
    NoData(String),
    /// Why the query can never give a figure.
    WrongKind(String),
}

impl Data {
    /// The one series that is expected.
    pub(crate) fn read(self) -> Result<Found, serde_json::Error> {
        let series = match self.result_type.as_str() {
            "scalar" => {
                let sample = serde_json::from_value(self.result)?;
                return Ok(Found::Points(vec![point(&sample)]));
            }
            "vector" | "matrix" => serde_json::from_value::<Vec<Series>>(self.result)?,
            other => {
                let message = format!("it gives a {other}, which is no number");
                return Ok(Found::WrongKind(message));
            }
        };
        let one = match series.as_slice() {
            [] => return Ok(Found::NoData("no series matches".to_owned())),
            [one] => one,
            many => return Ok(Found::NoData(several(many))),
        };
        Ok(match (self.result_type.as_str(), &one.value, &one.values) {
            ("vector", Some(sample), _) => Found::Points(vec![point(sample)]),
            ("matrix", _, Some(samples)) => Found::Points(samples.iter().map(point).collect()),
            _ => Found::WrongKind(
                "it gives a histogram, which is no number; use histogram_quantile()".to_owned(),
            ),
        })
    }

    pub(crate) fn is_matrix(&self) -> bool {
        self.result_type == "matrix"
    }
}

fn point(sample: &Sample) -> Point {
    let value = match &sample.1 {
        Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    };
    Point {
        at: millis(sample.0),
        value: value.filter(|value: &f64| value.is_finite()),
    }
}

/// Seconds as whole milliseconds. The cast stops at the ends.
fn millis(seconds: f64) -> u64 {
    (seconds * 1000.0).round() as u64
}

/// Says by which labels series differ.
fn several(series: &[Series]) -> String {
    let names: BTreeSet<&String> = series.iter().flat_map(|one| one.metric.keys()).collect();
    let differ: Vec<&str> = names
        .into_iter()
        .filter(|name| {
            let values: BTreeSet<_> = series.iter().map(|one| one.metric.get(*name)).collect();
            values.len() > 1
        })
        .map(String::as_str)
        .collect();
    let listed = differ.iter().take(LISTED).copied().collect::<Vec<_>>();
    let more = if differ.len() > LISTED {
        " and others"
    } else {
        ""
    };
    format!(
        "{} series where one is expected; they differ in {}{more}",
        series.len(),
        listed.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(data: Value) -> Found {
        let data: Data = serde_json::from_value(data).unwrap();
        data.read().unwrap()
    }

    fn points(values: &[(u64, Option<f64>)]) -> Found {
        let points = values.iter().map(|&(at, value)| Point { at, value });
        Found::Points(points.collect())
    }

    // The shapes are those of Prometheus 2.42's API.
    #[test]
    fn the_shapes_of_the_api_are_read() {
        let vector = |value: &str| {
            found(json!({ "resultType": "vector", "result": [
                { "metric": {}, "value": [1_795_611_502.491, value] },
            ] }))
        };
        let at = 1_795_611_502_491;
        assert_eq!(
            vector("10.199999999999998"),
            points(&[(at, Some(10.199_999_999_999_998))])
        );
        assert_eq!(vector("1e+09"), points(&[(at, Some(1e9))]));
        for none in ["NaN", "+Inf", "-Inf", "many"] {
            assert_eq!(vector(none), points(&[(at, None)]), "{none}");
        }
        let scalar = json!({ "resultType": "scalar", "result": [1_795_611_502.55, "12"] });
        assert_eq!(found(scalar), points(&[(1_795_611_502_550, Some(12.0))]));
        let matrix = json!({ "resultType": "matrix", "result": [{
            "metric": { "__name__": "lag", "topic": "orders" },
            "values": [[1_795_611_442, "11600"], [1_795_611_457, "NaN"]],
        }] });
        let expected = [
            (1_795_611_442_000, Some(11600.0)),
            (1_795_611_457_000, None),
        ];
        assert_eq!(found(matrix), points(&expected));
    }

    #[test]
    fn nothing_and_too_much_are_no_data() {
        let none = json!({ "resultType": "vector", "result": [] });
        assert_eq!(found(none), Found::NoData("no series matches".to_owned()));
        let two = json!({ "resultType": "vector", "result": [
            { "metric": { "__name__": "x", "code": "200", "pod": "a" }, "value": [1, "1"] },
            { "metric": { "__name__": "x", "code": "500" }, "value": [1, "2"] },
        ] });
        let reason = "2 series where one is expected; they differ in code, pod";
        assert_eq!(found(two), Found::NoData(reason.to_owned()));
    }

    #[test]
    fn what_is_never_a_number_is_told_apart() {
        let text = json!({ "resultType": "string", "result": [1_795_611_502.574, "text"] });
        let Found::WrongKind(reason) = found(text) else {
            panic!("a text is no number");
        };
        assert_eq!(reason, "it gives a string, which is no number");
        let histogram = json!({ "resultType": "vector", "result": [
            { "metric": {}, "histogram": [1, { "count": "1", "sum": "2" }] },
        ] });
        assert!(matches!(found(histogram), Found::WrongKind(_)));
    }
}
