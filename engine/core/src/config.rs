//! ConfigMaps and Secrets that are versioned with a release.
//!
//! New content never takes the place of the old one. It is made as an immutable copy under a name of its own, and
//! the pod template refers to that name: old pods keep what they were started with, and going back is a matter of
//! the template alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod left;
mod rotation;

pub use left::{Left, left};
pub use rotation::{
    Alphabet, MAX_KEY, MAX_RANDOM, MAX_ROTATED, MIN_RANDOM, NewValue, Random, Source,
    copy_of_rotated, is_key,
};

/// Between the name of what is copied and the digest in the name of a copy.
const INFIX: &str = "-pg";
/// Hexadecimal digits of the digest in the name of a copy.
const DIGITS: usize = 10;
/// Longest name of a ConfigMap or Secret that can be versioned: with the digest a name must stay a label's value.
pub const MAX_NAME: usize = 63 - INFIX.len() - DIGITS;
/// Most ConfigMaps and Secrets of one workload that are versioned.
pub const MAX_CONFIGS: usize = 16;
/// Most bytes that a release brings along for one ConfigMap: it is part of the plan, which the journal holds.
pub const MAX_CONTENT: usize = 64 << 10;
/// Most keys of one ConfigMap that a release brings along.
pub const MAX_KEYS: usize = 100;
/// Most bytes of a pod template that a release brings along.
pub const MAX_TEMPLATE: usize = 256 << 10;
/// Longest name of a Deployment whose template is versioned: with the digest it must stay an object's name.
pub const MAX_TEMPLATE_NAME: usize = 253 - INFIX.len() - DIGITS;
/// Most differences that a plan names for one of them.
pub const MAX_CHANGES: usize = 50;

/// What is versioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret. Its content is read by whoever makes the copy, at that moment, and by nobody else.
    Secret,
    /// The whole pod template, kept as a PodTemplate. Its content is in the cluster and in the release's manifests.
    Template,
}

impl ConfigKind {
    /// Its name in Kubernetes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::Template => "PodTemplate",
        }
    }
}

/// Where a pod template is to refer to: whatever leads to the one or to a copy of it leads to `name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// What it is.
    pub kind: ConfigKind,
    /// The name that the release knows it by.
    pub of: String,
    /// The name that is referred to: that one, or a copy's.
    pub name: String,
}

/// What a copy holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum Content {
    /// What the release brings along. Never a Secret's.
    Release {
        /// Values by key.
        data: BTreeMap<String, String>,
    },
    /// What stands in the cluster under the name that the release knows, in the version that was planned with.
    Cluster {
        /// Uid of the object.
        uid: String,
        /// `metadata.resourceVersion` when it was planned with. Another one is refused.
        version: String,
    },
    /// What stands in the cluster, with new values for some keys of it. They are read or made up by whoever makes the
    /// copy, at that moment, and go nowhere else.
    Rotated {
        /// The object whose keys it has: the Secret, or the copy with other values that the workload refers to.
        base: String,
        /// Its uid.
        uid: String,
        /// Its `metadata.resourceVersion` when it was planned with. Another one is refused.
        version: String,
        /// The Secret itself, as it was then.
        source: Source,
        /// The keys that get new values.
        keys: BTreeMap<String, NewValue>,
        /// Those keys of the base that earlier releases gave other values than the Secret has.
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        earlier: BTreeSet<String>,
    },
    /// The pod template of the release's manifests. It may hold what nobody wants in a journal, so that whoever
    /// makes the copy is given it beside the plan.
    Manifest {
        /// Digest of the Deployment's template once it is written, as the cluster completes it.
        digest: String,
        /// The same of the template alone, by which a copy that somebody changed is told.
        alone: String,
    },
    /// The pod template of a Deployment as it is, so that the way back finds it.
    Live {
        /// The Deployment.
        deployment: String,
        /// Its uid.
        uid: String,
        /// Digest of its template when it was planned with. Another one is refused.
        digest: String,
    },
}

/// A copy that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigCopy {
    /// What it is.
    pub kind: ConfigKind,
    /// The name that the release knows it by.
    pub of: String,
    /// The copy's name.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// A ConfigMap or Secret of a workload, as the plan has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versioned {
    /// The copy that the new version refers to.
    #[serde(flatten)]
    pub copy: ConfigCopy,
    /// What stable refers to before the run: the name that the release knows, or a copy's.
    pub before: String,
    /// The same of what is kept in the candidate's place from an earlier release, if it refers to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
    /// Whether the copy is there already, made by an earlier run: then this one neither makes nor removes it.
    #[serde(default)]
    pub there: bool,
    /// How the content differs from what stable refers to, for people: of a Secret the keys alone.
    #[serde(default)]
    pub changes: Vec<String>,
}

impl Versioned {
    /// Whether stable refers to that content already.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.before == self.copy.name
    }

    /// Whether it is made for the way back alone, and the new version does not refer to it.
    #[must_use]
    pub fn keeps_old(&self) -> bool {
        matches!(self.copy.content, Content::Live { .. })
    }

    /// The template's reference with another name.
    #[must_use]
    pub fn reference(&self, name: &str) -> Reference {
        Reference {
            kind: self.copy.kind,
            of: self.copy.of.clone(),
            name: name.to_owned(),
        }
    }
}

/// The name of the copy that holds what a release brings along: the same content has the same name. Each workload
/// has copies of its own, so that none takes away what another needs.
#[must_use]
pub fn copy_of_data(workload: &str, of: &str, data: &BTreeMap<String, String>) -> String {
    let parts = data
        .iter()
        .flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    named(of, [workload].into_iter().chain(parts))
}

/// The name of the copy of what stands in the cluster. It follows from which version of the object that is and
/// not from what it holds: a digest of a Secret's content could be guessed at.
#[must_use]
pub fn copy_of_object(workload: &str, of: &str, uid: &str, version: &str) -> String {
    named(of, [workload, uid, version].into_iter())
}

/// The name of the copy that holds a pod template of the release's manifests, given as text. It is cut short, so that
/// it says too little of the content to guess at it.
#[must_use]
pub fn copy_of_template(workload: &str, of: &str, template: &str) -> String {
    named(of, [workload, "template", template].into_iter())
}

fn named<'a>(of: &str, parts: impl Iterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        // With its length before it no part can pass for two.
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    let digits: String = hex.chars().take(DIGITS).collect();
    format!("{of}{INFIX}{digits}")
}

/// What a name is a copy of; the name itself where it is no copy's.
#[must_use]
pub fn original(name: &str) -> &str {
    match name.rsplit_once(INFIX) {
        Some((of, digits))
            if !of.is_empty()
                && digits.len() == DIGITS
                && digits
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')) =>
        {
            of
        }
        _ => name,
    }
}

/// How new values differ from old ones, a line for each key. Values are shown where `shown`, and where they are short.
#[must_use]
pub fn differences(
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    shown: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, value) in new {
        match old.get(key) {
            None => lines.push(format!("{key} is new{}", told(shown, None, Some(value)))),
            Some(before) if before != value => {
                lines.push(format!(
                    "{key} changes{}",
                    told(shown, Some(before), Some(value))
                ));
            }
            Some(_) => {}
        }
    }
    for (key, value) in old {
        if !new.contains_key(key) {
            lines.push(format!("{key} goes{}", told(shown, Some(value), None)));
        }
    }
    if lines.len() > MAX_CHANGES {
        let more = lines.len().saturating_sub(MAX_CHANGES);
        lines.truncate(MAX_CHANGES);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Longest value that a plan shows.
const SHOWN: usize = 60;

fn told(shown: bool, old: Option<&String>, new: Option<&String>) -> String {
    if !shown {
        return String::new();
    }
    let short =
        |value: &&String| value.chars().count() <= SHOWN && !value.contains(char::is_control);
    let words = |value: Option<&String>| match value {
        None => None,
        Some(value) if short(&value) => Some(format!("`{value}`")),
        Some(value) => Some(format!(
            "{} lines, {} bytes",
            value.lines().count(),
            value.len()
        )),
    };
    match (words(old), words(new)) {
        (Some(old), Some(new)) => format!(": {old} → {new}"),
        (Some(one), None) | (None, Some(one)) => format!(": {one}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_copy_is_named_by_its_content_and_known_by_its_name() {
        let one = copy_of_data("api", "shop", &data(&[("a", "1"), ("b", "2")]));
        assert_eq!(
            one,
            copy_of_data("api", "shop", &data(&[("b", "2"), ("a", "1")]))
        );
        assert_ne!(
            one,
            copy_of_data("api", "shop", &data(&[("a", "1"), ("b", "3")]))
        );
        assert_ne!(
            copy_of_data("api", "shop", &data(&[("ab", "c")])),
            copy_of_data("api", "shop", &data(&[("a", "bc")]))
        );
        assert_eq!(original(&one), "shop");
        assert_eq!(
            original(&copy_of_object("api", "s.d-pg", "uid", "7")),
            "s.d-pg"
        );
        for other in [
            "shop",
            "shop-pg",
            "shop-pg12345678",
            "-pg0123456789",
            "shop-pg012345678z",
        ] {
            assert_eq!(original(other), other);
        }
    }

    #[test]
    fn no_workload_shares_a_copy() {
        let data = data(&[("a", "1")]);
        assert_ne!(
            copy_of_data("api", "shop", &data),
            copy_of_data("web", "shop", &data)
        );
    }

    #[test]
    fn values_of_a_secret_are_not_told() {
        let (old, new) = (
            data(&[("a", "x"), ("b", "y")]),
            data(&[("a", "z"), ("c", "w")]),
        );
        assert_eq!(
            differences(&old, &new, true),
            ["a changes: `x` → `z`", "c is new: `w`", "b goes: `y`"]
        );
        assert_eq!(
            differences(&old, &new, false),
            ["a changes", "c is new", "b goes"]
        );
    }

    #[test]
    fn no_more_differences_are_told_than_a_plan_takes() {
        let new = (0..80).map(|n| (n.to_string(), String::new())).collect();
        let told = differences(&BTreeMap::new(), &new, true);
        assert_eq!(told.len(), MAX_CHANGES + 1);
        assert_eq!(told.last().map(String::as_str), Some("and 30 more"));
    }
}
