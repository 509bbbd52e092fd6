//! Copies that nothing needs once an old version can't come back any more.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ConfigKind, Versioned, original};

/// A copy that a release made and that is to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Left {
    /// What it is.
    pub kind: ConfigKind,
    /// The name that the release knows it by.
    pub of: String,
    /// The copy's name.
    pub name: String,
}

/// The copies that only the version before a release refers to, and those of pod templates, to which nothing refers but
/// the way back. What people made themselves is none. Templates come first: they may refer to others.
#[must_use]
pub fn left(configs: &[Versioned]) -> Vec<Left> {
    let templates = configs
        .iter()
        .filter(|config| config.copy.kind == ConfigKind::Template)
        .map(|config| (config, &config.copy.name));
    let others = configs
        .iter()
        .filter(|config| config.copy.kind != ConfigKind::Template)
        .flat_map(|config| {
            let names = [Some(&config.before), config.idle.as_ref()];
            let old = names.into_iter().flatten();
            old.filter(|name| **name != config.copy.name && original(name) != name.as_str())
                .map(move |name| (config, name))
        });
    let mut seen = BTreeSet::new();
    templates
        .chain(others)
        .map(|(config, name)| Left {
            kind: config.copy.kind,
            of: config.copy.of.clone(),
            name: name.clone(),
        })
        .filter(|left| seen.insert((left.kind, left.name.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ConfigCopy, Content};

    fn versioned(kind: ConfigKind, before: &str, idle: Option<&str>, name: &str) -> Versioned {
        Versioned {
            copy: ConfigCopy {
                kind,
                of: original(name).to_owned(),
                name: name.to_owned(),
                content: Content::Release {
                    data: std::collections::BTreeMap::new(),
                },
            },
            before: before.to_owned(),
            idle: idle.map(str::to_owned),
            there: false,
            changes: Vec::new(),
        }
    }

    #[test]
    fn what_people_made_and_what_serves_is_not_left() {
        let map = ConfigKind::ConfigMap;
        let names = |configs: &[Versioned]| -> Vec<String> {
            left(configs).into_iter().map(|left| left.name).collect()
        };
        let (old, older, new) = ("a-pg0000000000", "a-pg1111111111", "a-pg2222222222");
        assert!(names(&[versioned(map, "a", None, new)]).is_empty());
        assert!(names(&[versioned(map, new, Some(new), new)]).is_empty());
        assert_eq!(names(&[versioned(map, old, Some(old), new)]), [old]);
        let template = versioned(
            ConfigKind::Template,
            "w-pg00000000aa",
            None,
            "w-pg00000000aa",
        );
        assert_eq!(
            names(&[versioned(map, old, Some(older), new), template]),
            ["w-pg00000000aa", old, older]
        );
    }
}
