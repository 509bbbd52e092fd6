//! Placeholders of the question in PromQL: `{{version}}`, `{{labels}}`, `{{window}}`.
//!
//! What stands in for one can't change what the query means. A text stands within quotes and is
//! escaped for them, and for a regular expression where the matcher before the quotes is one.

use phasegate_plugin::{Duration, Pair};

/// Texts, each of which stands within quotes.
const TEXTS: [&str; 5] = [
    "version",
    "service",
    "namespace",
    "environment",
    "deployment",
];
/// Begins the name of a text that is one label of the side.
const LABEL: &str = "label.";
const NAMES: &str = "{{version}}, {{service}}, {{namespace}}, {{environment}}, {{deployment}}, \
                     {{label.NAME}}, {{labels}} and {{window}}";
/// What has a meaning in RE2, the regular expressions of Prometheus.
const REGEX: &str = r"\.+*?()|[]{}^$";

/// What the placeholders of one query stand for.
pub(crate) struct Values<'a> {
    pub(crate) version: &'a str,
    pub(crate) service: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) environment: &'a str,
    /// Empty where the step is about no workload.
    pub(crate) deployment: &'a str,
    pub(crate) labels: &'a [Pair],
    pub(crate) window: Duration,
}

/// Where a placeholder stands.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Code,
    Text { quote: char, regex: bool },
}

/// Whether a query uses only placeholders that there are, where they can stand.
pub(crate) fn check(query: &str) -> Result<(), String> {
    walk(query, |name, place| {
        let is_text = TEXTS.contains(&name) || name.starts_with(LABEL);
        match (name, place) {
            ("window", _) | ("labels", Place::Code) => Ok(String::new()),
            ("labels", Place::Text { .. }) => {
                Err("`{{labels}}` stands for matchers: write it outside of quotes".to_owned())
            }
            (_, Place::Text { .. }) if is_text => Ok(String::new()),
            _ if is_text => Err(format!("`{{{{{name}}}}}` is a text: put it in quotes")),
            _ => Err(format!(
                "there is no placeholder `{{{{{name}}}}}`; there are {NAMES}"
            )),
        }
    })
    .map(|_| ())
}

/// The query with its placeholders filled in.
pub(crate) fn fill(query: &str, values: &Values<'_>) -> Result<String, String> {
    check(query)?;
    walk(query, |name, place| match (name, place) {
        ("window", _) => Ok(promql(values.window)),
        ("labels", _) => matchers(values.labels),
        (name, Place::Text { quote, regex }) => escape(values.text(name)?, quote, regex),
        (name, Place::Code) => Err(format!("`{{{{{name}}}}}` is a text: put it in quotes")),
    })
}

impl Values<'_> {
    fn text(&self, name: &str) -> Result<&str, String> {
        let (text, none) = match name {
            "version" => (self.version, "no version"),
            "service" => (self.service, "no Service"),
            "namespace" => (self.namespace, "no namespace"),
            "environment" => (self.environment, "no environment"),
            "deployment" => (self.deployment, "no Deployment"),
            _ => (self.label(name)?, "no such label"),
        };
        if text.is_empty() {
            return Err(format!("`{{{{{name}}}}}`: this step has {none}"));
        }
        Ok(text)
    }

    fn label(&self, name: &str) -> Result<&str, String> {
        let wanted = name.strip_prefix(LABEL).unwrap_or_default();
        let found = self.labels.iter().find(|label| label.name == wanted);
        found.map(|label| label.value.as_str()).ok_or_else(|| {
            let known: Vec<_> = self
                .labels
                .iter()
                .map(|label| label.name.as_str())
                .collect();
            match known.as_slice() {
                [] => format!("`{{{{{name}}}}}`: no label is known of this side"),
                known => format!(
                    "there is no label `{wanted}`; there are {}",
                    known.join(", ")
                ),
            }
        })
    }
}

/// A duration in PromQL, in whole seconds.
pub(crate) fn promql(window: Duration) -> String {
    format!("{}s", window.as_millis() / 1000)
}

/// `app="shop",track="canary"`. Names become what Prometheus makes of Kubernetes' own.
fn matchers(labels: &[Pair]) -> Result<String, String> {
    if labels.is_empty() {
        // Nothing in its place would select every side at once.
        return Err("`{{labels}}`: no label is known of this side".to_owned());
    }
    let matcher = |label: &Pair| {
        let name: String = label
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        Ok(format!("{name}=\"{}\"", escape(&label.value, '"', false)?))
    };
    let all: Result<Vec<String>, String> = labels.iter().map(matcher).collect();
    Ok(all?.join(","))
}

fn escape(text: &str, quote: char, regex: bool) -> Result<String, String> {
    let mut escaped = String::new();
    for c in text.chars() {
        if regex && REGEX.contains(c) {
            push(&mut escaped, '\\', quote)?;
        }
        push(&mut escaped, c, quote)?;
    }
    Ok(escaped)
}

/// Adds a character as it is written within these quotes.
fn push(into: &mut String, c: char, quote: char) -> Result<(), String> {
    match (quote, c) {
        ('`', '`') => return Err(format!("a text with `{c}` can't stand in these quotes")),
        ('`', c) => into.push(c),
        (_, '\n') => into.push_str("\\n"),
        (_, '\r') => into.push_str("\\r"),
        (quote, c) => {
            if c == '\\' || c == quote {
                into.push('\\');
            }
            into.push(c);
        }
    }
    Ok(())
}

/// Goes through a query, and puts in the place of each placeholder what `stand_in` says.
fn walk(
    query: &str,
    stand_in: impl Fn(&str, Place) -> Result<String, String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut place = Place::Code;
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        // Of three braces the first is PromQL's own: `up{{{labels}}}`.
        if let Some(inner) = rest.strip_prefix("{{")
            && !inner.starts_with('{')
        {
            let (name, tail) = inner
                .split_once("}}")
                .ok_or_else(|| format!("`{{{{{inner}` is never closed"))?;
            out.push_str(&stand_in(name.trim(), place)?);
            rest = tail;
            continue;
        }
        let mut taken = c.len_utf8();
        match place {
            Place::Code if c == '#' => taken = rest.find('\n').unwrap_or(rest.len()),
            Place::Code if matches!(c, '"' | '\'' | '`') => {
                let before = out.trim_end();
                let regex = before.ends_with("=~") || before.ends_with("!~");
                place = Place::Text { quote: c, regex };
            }
            Place::Code => {}
            Place::Text { quote, .. } if c == quote => place = Place::Code,
            Place::Text { quote, .. } if c == '\\' && quote != '`' => {
                taken += rest.chars().nth(1).map_or(0, char::len_utf8);
            }
            Place::Text { .. } => single_braces(rest)?,
        }
        let (text, tail) = rest.split_at_checked(taken).unwrap_or((rest, ""));
        out.push_str(text);
        rest = tail;
    }
    match place {
        Place::Code => Ok(out),
        Place::Text { quote, .. } => Err(format!("a text that {quote} begins is never closed")),
    }
}

/// Refuses a text that looks for `{version}` itself, which nobody means.
fn single_braces(rest: &str) -> Result<(), String> {
    let name = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    match name {
        Some((name, _)) if TEXTS.contains(&name) => Err(format!(
            "placeholders have two braces here: write {{{{{name}}}}}"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(query: &str, version: &str) -> Result<String, String> {
        let labels = [
            Pair::new("app.kubernetes.io/name", "shop"),
            Pair::new("track", "a\"b"),
        ];
        let values = Values {
            version,
            service: "shop",
            namespace: "prod",
            environment: "production",
            deployment: "",
            labels: &labels,
            window: Duration::from_millis(90_500),
        };
        fill(query, &values)
    }

    #[test]
    fn placeholders_are_filled_in_their_places() {
        for (query, expected) in [
            ("up", "up"),
            (
                "rate(x{version=\"{{version}}\",ns='{{ namespace }}'}[{{window}}])",
                "rate(x{version=\"1.4.0\",ns='prod'}[90s])",
            ),
            (
                "up{{{labels}}}",
                "up{app_kubernetes_io_name=\"shop\",track=\"a\\\"b\"}",
            ),
            (
                "up{ {{labels}}, code=\"500\" }",
                "up{ app_kubernetes_io_name=\"shop\",track=\"a\\\"b\", code=\"500\" }",
            ),
            (
                "x{t=\"{{label.track}}\",s=`{{service}}`}",
                "x{t=\"a\\\"b\",s=`shop`}",
            ),
            (
                "x # it's \"{{nothing}}\"\n + y{e=\"{{environment}}\"}",
                "x # it's \"{{nothing}}\"\n + y{e=\"production\"}",
            ),
            ("x{a=\"\\\"{{version}}\"}", "x{a=\"\\\"1.4.0\"}"),
        ] {
            assert_eq!(filled(query, "1.4.0").as_deref(), Ok(expected), "{query}");
        }
    }

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        let hostile = "1\"} or vector(0) #\\\n'`";
        let double = filled("x{v=\"{{version}}\"}", hostile).unwrap();
        assert_eq!(double, "x{v=\"1\\\"} or vector(0) #\\\\\\n'`\"}");
        let single = filled("x{v='{{version}}'}", hostile).unwrap();
        assert_eq!(single, "x{v='1\"} or vector(0) #\\\\\\n\\'`'}");
        assert!(filled("x{v=`{{version}}`}", hostile).is_err());
    }

    #[test]
    fn within_a_regular_expression_a_text_is_meant_as_it_is() {
        for (query, expected) in [
            (
                "x{v=~\"{{version}}-.*\"}",
                "x{v=~\"1\\\\.4\\\\.0\\\\+b-.*\"}",
            ),
            ("x{v!~ '{{version}}'}", "x{v!~ '1\\\\.4\\\\.0\\\\+b'}"),
            ("x{v=~`{{version}}`}", "x{v=~`1\\.4\\.0\\+b`}"),
            ("x{v=\"{{version}}\"}", "x{v=\"1.4.0+b\"}"),
        ] {
            assert_eq!(filled(query, "1.4.0+b").as_deref(), Ok(expected), "{query}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_refused() {
        for (query, fault) in [
            (
                "x{v=\"{{verison}}\"}",
                "there is no placeholder `{{verison}}`",
            ),
            (
                "x{v={{version}}}",
                "`{{version}}` is a text: put it in quotes",
            ),
            ("x{v=\"{{labels}}\"}", "outside of quotes"),
            ("x{v=\"{{version\"}", "is never closed"),
            ("x{v=\"{version}\"}", "two braces here: write {{version}}"),
            ("x{v=\"1", "a text that \" begins is never closed"),
        ] {
            let refusal = check(query).unwrap_err();
            assert!(refusal.contains(fault), "{query}: {refusal}");
        }
        for (query, fault) in [
            ("x{d=\"{{deployment}}\"}", "this step has no Deployment"),
            (
                "x{d=\"{{label.app}}\"}",
                "there are app.kubernetes.io/name, track",
            ),
        ] {
            assert_eq!(check(query), Ok(()));
            let refusal = filled(query, "1").unwrap_err();
            assert!(refusal.contains(fault), "{query}: {refusal}");
        }
        assert!(matchers(&[]).is_err());
    }
}
