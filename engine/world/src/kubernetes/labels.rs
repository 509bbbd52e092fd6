//! By which labels candidate's pods are told from stable's.
//!
//! The candidate's pods and its selector have stable's labels, but for one or two values. Which ones follows
//! from what is selected now, and the same rule leads back once the candidate has become stable: the
//! Deployment that was stable before may still be there, and its selector can't be changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Names and values.
pub(super) type Labels = BTreeMap<String, String>;

/// Tells a candidate apart where no label of stable's can.
pub(super) const SLOT: &str = "phasegate.dev/slot";
/// What a candidate's names and values end with.
pub(super) const CANDIDATE: &str = "-candidate";
/// Longest value of a label, and longest name of a Service.
const MAX_LENGTH: usize = 63;
/// Bytes of a digest that keep shortened names apart.
const DISTINCT: usize = 4;

/// Which colour is to be the candidate's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Colour<'a> {
    /// The label that holds the colour.
    pub(super) label: &'a str,
    /// The colour that serves, if it has one.
    pub(super) live: Option<&'a str>,
    pub(super) candidate: &'a str,
}

/// What there is to go by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) workload: &'a str,
    /// Stable's selector.
    pub(super) stable: &'a Labels,
    /// The Service's selector, where there is a Service.
    pub(super) service: Option<&'a Labels>,
    /// The selector of what is kept in the candidate's place.
    pub(super) kept: Option<&'a Labels>,
    pub(super) colour: Option<Colour<'a>>,
}

impl Facts<'_> {
    /// The labels of a candidate that the Service must not reach before traffic is sent to it.
    pub(super) fn outside(&self) -> Result<Labels, &'static str> {
        let Some(service) = self.service else {
            return Err("the workload has no Service, so that no traffic could be shared");
        };
        let mut labels = Labels::new();
        if let Some(colour) = self.colour {
            labels.extend(
                self.stable
                    .iter()
                    .chain(service)
                    .filter_map(|(name, value)| Some((name.clone(), colour.repaint(value)?))),
            );
            labels.insert(colour.label.to_owned(), colour.candidate.to_owned());
        }
        if !differ(&labels, self.stable) || !differ(&labels, service) {
            // One label tells both the Deployments' pods and the Service's apart, where they share one.
            self.change(&mut labels, self.stable, |name| service.contains_key(name));
        }
        if !differ(&labels, self.stable) && !self.change(&mut labels, self.stable, |_| true) {
            return Err(
                "its selector has no `matchLabels`, so that the candidate's pods would belong to both",
            );
        }
        if !differ(&labels, service) && !self.change(&mut labels, service, |_| true) {
            return Err(
                "its Service selects nothing, so that traffic can't be kept from a candidate",
            );
        }
        Ok(labels)
    }

    /// The labels of a candidate that the Service reaches like stable. With [`SLOT`] among them stable's
    /// selector covers the candidate's pods too.
    pub(super) fn inside(&self) -> Labels {
        let mut labels = Labels::new();
        let own = |name: &str| {
            self.service
                .is_none_or(|service| !service.contains_key(name))
        };
        if !self.change(&mut labels, self.stable, own) {
            let value = CANDIDATE.trim_start_matches('-');
            labels.insert(SLOT.to_owned(), value.to_owned());
        }
        labels
    }

    /// Gives one of the labels the candidate's value. Says whether there is one.
    fn change(&self, labels: &mut Labels, among: &Labels, fits: impl Fn(&str) -> bool) -> bool {
        let chosen = among
            .iter()
            .filter(|(name, _)| fits(name) && !labels.contains_key(*name))
            .min_by_key(|(name, value)| (self.rank(value), *name));
        let Some((name, value)) = chosen else {
            return false;
        };
        let kept = self
            .kept
            .and_then(|kept| kept.get(name))
            .filter(|kept| *kept != value);
        let other = match (kept, self.colour) {
            (Some(kept), _) => kept.clone(),
            (None, Some(colour)) => within(value, &format!("-{}", colour.candidate)),
            (None, None) => other(value),
        };
        labels.insert(name.clone(), other);
        true
    }

    /// What names a slot is changed first, then what names the workload.
    fn rank(&self, value: &str) -> u8 {
        if matches!(value, "stable" | "candidate") || value.ends_with(CANDIDATE) {
            0
        } else {
            u8::from(value != self.workload) + 1
        }
    }
}

impl Colour<'_> {
    /// A value that names the live colour, with the candidate's instead.
    fn repaint(&self, value: &str) -> Option<String> {
        let stem = value.strip_suffix(self.live?)?.strip_suffix('-')?;
        Some(within(stem, &format!("-{}", self.candidate)))
    }
}

/// The value of the other slot.
fn other(value: &str) -> String {
    match value {
        "stable" => "candidate".to_owned(),
        "candidate" => "stable".to_owned(),
        _ => value
            .strip_suffix(CANDIDATE)
            .filter(|stem| !stem.is_empty())
            .map_or_else(|| within(value, CANDIDATE), str::to_owned),
    }
}

/// Whether some label has another value than the selector wants.
fn differ(labels: &Labels, selector: &Labels) -> bool {
    labels
        .iter()
        .any(|(name, value)| selector.get(name).is_some_and(|wanted| wanted != value))
}

/// Whether a selector chooses what has these labels. An empty one chooses nothing, as a Service's does.
pub(super) fn chooses(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty()
        && selector
            .iter()
            .all(|(name, value)| labels.get(name) == Some(value))
}

/// A name or value with an ending. One that would be too long is cut, and stays distinct by a digest.
pub(super) fn within(stem: &str, ending: &str) -> String {
    let whole = format!("{stem}{ending}");
    if whole.len() <= MAX_LENGTH {
        return whole;
    }
    let mut digest = String::from("-");
    for byte in Sha256::digest(whole.as_bytes()).iter().take(DISTINCT) {
        let _ = write!(digest, "{byte:02x}");
    }
    let cut: String = whole.chars().take(MAX_LENGTH - digest.len()).collect();
    let cut = cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    format!("{cut}{digest}")
}

/// A selector in words: `app=shop,tier=web`.
pub(super) fn in_words(labels: &Labels) -> String {
    if labels.is_empty() {
        return "nothing".to_owned();
    }
    let terms: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!("`{}`", terms.join(","))
}

#[cfg(test)]
mod tests;
