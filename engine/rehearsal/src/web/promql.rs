//! As much of PromQL as scripted answers need: whether its brackets and quotes make sense, and by which
//! labels it selects.

/// The deepest that brackets may be nested.
const MAX_DEPTH: usize = 64;

/// The labels that a query selects by, in their order: those that must be equal or fit a pattern.
///
/// # Errors
/// What no parser of PromQL would take.
pub(super) fn labels(query: &str) -> Result<Vec<(String, String)>, String> {
    if query.trim().is_empty() {
        return Err("1:1: parse error: no expression found in input".to_owned());
    }
    let mut found = Vec::new();
    let mut open: Vec<char> = Vec::new();
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '"' | '\'' | '`' => rest = quoted(behind, c)?.1,
            '{' => {
                let (matchers, after) = selector(behind)?;
                found.extend(matchers);
                rest = after;
            }
            '(' | '[' if open.len() >= MAX_DEPTH => {
                return Err("parse error: too deep".to_owned());
            }
            '(' | '[' => {
                open.push(c);
                rest = behind;
            }
            ')' | ']' | '}' => {
                let wanted = if c == ')' { '(' } else { '[' };
                if c == '}' || open.pop() != Some(wanted) {
                    return Err(format!("parse error: unexpected \"{c}\""));
                }
                rest = behind;
            }
            _ => rest = behind,
        }
    }
    match open.pop() {
        Some('(') => Err("parse error: unclosed left parenthesis".to_owned()),
        Some(_) => Err("parse error: unclosed left bracket".to_owned()),
        None => Ok(found),
    }
}

/// What stands in quotes, and what behind them.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, c)) = letters.next() {
        if c == quote {
            return Ok((out, text.get(at + c.len_utf8()..).unwrap_or_default()));
        }
        if c == '\\' && quote != '`' {
            out.extend(letters.next().map(|(_, escaped)| escaped));
        } else {
            out.push(c);
        }
    }
    Err("parse error: unterminated quoted string".to_owned())
}

type Matchers = Vec<(String, String)>;

/// The matchers between curly brackets, and what stands behind those.
fn selector(text: &str) -> Result<(Matchers, &str), String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((found, after));
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
            .unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let after = after.trim_start();
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| after.starts_with(operator));
        let Some(operator) = operator.filter(|_| !name.is_empty()) else {
            return Err(format!(
                "parse error: unexpected \"{}\" inside braces, expected label matching operator",
                rest.chars().take(12).collect::<String>()
            ));
        };
        let after = after.get(operator.len()..).unwrap_or_default().trim_start();
        let quote = after
            .chars()
            .next()
            .filter(|c| matches!(c, '"' | '\'' | '`'));
        let Some(quote) = quote else {
            return Err("parse error: unexpected label matching, expected string".to_owned());
        };
        let (value, after) = quoted(after.get(1..).unwrap_or_default(), quote)?;
        if matches!(operator, "=" | "=~") {
            found.push((name.to_owned(), value));
        }
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return Err("parse error: unclosed left brace".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labels_of_every_selector_are_found() {
        let query = r#"sum(rate(errors_total{version="1.1.0", pod=~'shop-.*', job!="x",}[1m])) / on() vector(1) > up{a="\"}"}"#;
        let found = labels(query).unwrap();
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            found,
            [("version", "1.1.0"), ("pod", "shop-.*"), ("a", "\"}")]
        );
        assert_eq!(labels("up{}").unwrap(), []);
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for (query, part) in [
            ("", "no expression"),
            ("sum(up", "unclosed left parenthesis"),
            ("up[5m", "unclosed left bracket"),
            ("sum(up))", "unexpected \")\""),
            ("(up]", "unexpected \"]\""),
            ("up}", "unexpected \"}\""),
            ("up{a=\"b\"", "unclosed left brace"),
            ("up{a=\"b", "unterminated"),
            ("up{a=b}", "expected string"),
            // A placeholder that nobody filled in.
            ("errors{version}", "expected label matching operator"),
            ("errors_{version}", "expected label matching operator"),
        ] {
            let told = labels(query).unwrap_err();
            assert!(told.contains(part), "{query}: {told}");
        }
        assert!(labels(&"(".repeat(100)).unwrap_err().contains("deep"));
    }
}
