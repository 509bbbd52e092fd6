//! The name that a misspelt one was probably meant to be.

/// Names longer than this are not compared, since nobody misspells them by a letter.
const MAX_COMPARED: usize = 64;
/// How many names a message lists before it says that there are more.
const MAX_LISTED: usize = 20;

/// The candidate nearest to `name`, if one is near enough to be what was meant.
///
/// ```
/// use phasegate_core::diagnostic::nearest;
///
/// assert_eq!(nearest("failurelimit", ["interval", "failureLimit"]), Some("failureLimit"));
/// assert_eq!(nearest("zebra", ["interval", "failureLimit"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.is_empty() || name.len() > MAX_COMPARED {
        return None;
    }
    let wanted = folded(name);
    let compared = |candidate: &str| {
        let candidate = folded(candidate);
        let longer = wanted.chars().count().max(candidate.chars().count());
        let distance = strsim::damerau_levenshtein(&wanted, &candidate);
        (distance <= (longer / 3).max(1)).then_some(distance)
    };
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_COMPARED)
        .filter_map(|candidate| Some((compared(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names as a message lists them: `one of `a`, `b``, or that there are none.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing: none is defined".to_owned(),
        [one] => one.clone(),
        many => {
            let more = many.len().saturating_sub(MAX_LISTED);
            let mut text = many
                .iter()
                .take(MAX_LISTED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            if more > 0 {
                text.push_str(&format!(" and {more} more"));
            }
            format!("one of {text}")
        }
    }
}

/// Writings that people mix up read the same: `failure_limit`, `failure-limit`, `failureLimit`.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_recognised_and_a_stranger_is_not() {
        let known = ["interval", "failureLimit", "bands"];
        assert_eq!(nearest("intervall", known), Some("interval"));
        assert_eq!(nearest("failure_limit", known), Some("failureLimit"));
        assert_eq!(nearest("band", known), Some("bands"));
        assert_eq!(nearest("replicas", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }

    #[test]
    fn lists_stay_short() {
        assert_eq!(listed([]), "nothing: none is defined");
        assert_eq!(listed(["a", "b"]), "one of `a`, `b`");
        assert!(listed(vec!["n"; 500]).ends_with("and 480 more"));
    }
}
