//! New values for keys of a Secret.
//!
//! The copy has every other key as it stands in what it is made of. New values are read or made up when the copy is
//! made, and leave this process in that one request; the notes on the copy say which keys have other values than the
//! Secret itself, and which version of it that was, so that a later release notices what it would lose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phasegate_core::config::{
    self, ConfigCopy, ConfigKind, Content, NewValue, Random, Source, Versioned, copy_of_object,
    copy_of_rotated,
};
use phasegate_core::diagnostic::{codes, listed};
use phasegate_core::failure::{Failure, Kind};
use phasegate_core::spec::release::Rotate;
use phasegate_core::workload::Target;
use phasegate_runtime::plugin_ports::Credentials;
use phasegate_runtime::ports::ConfigAsked;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::configs::{COPY_OF, identity, missing, values};
use super::{KubeCluster, deployment};
use crate::entropy;

/// Annotation with the keys of a copy that have other values than the Secret itself.
const ROTATED: &str = "phasegate.dev/rotated";
/// Annotation with the version of the Secret that the others are of.
const SOURCE: &str = "phasegate.dev/rotated-from";
/// Most names that are tried for a copy: earlier runs that went back leave none.
const MAX_NAMES: u32 = 100;
/// Most blocks of random bytes for one value: far more than any takes.
const MAX_BLOCKS: u32 = 64;

/// Where new values come from.
#[derive(Clone, Default)]
pub(super) struct Values {
    credentials: Option<Arc<dyn Credentials>>,
    /// In a rehearsal they follow from this and from nothing else.
    seed: Option<u64>,
}

impl Values {
    /// The values for these keys of a Secret, as text by key.
    pub(super) async fn of(
        &self,
        keys: &BTreeMap<String, NewValue>,
        secret: &str,
        effect: &str,
    ) -> Result<Value, Failure> {
        let mut all = Map::new();
        for (key, value) in keys {
            let text = match value {
                NewValue::Random(random) => self.random(*random, &[secret, key, effect])?,
                NewValue::Credential(name) => self.credential(name, secret, key).await?,
            };
            all.insert(key.clone(), text.into());
        }
        Ok(all.into())
    }

    async fn credential(&self, name: &str, secret: &str, key: &str) -> Result<String, Failure> {
        let unavailable =
            |why: String| Failure::new(Kind::Permanent, codes::CREDENTIAL_UNAVAILABLE, why);
        let Some(credentials) = &self.credentials else {
            return Err(unavailable(format!("no credential `{name}`")));
        };
        let value = credentials.value(name, secret, key).await;
        let value = value.map_err(|error| unavailable(error.to_string()))?;
        Ok(value.expose().to_owned())
    }

    fn random(&self, random: Random, about: &[&str]) -> Result<String, Failure> {
        let characters = random.alphabet.characters().as_bytes();
        let wanted = usize::try_from(random.length).unwrap_or(usize::MAX);
        let mut text = String::new();
        for count in 0..MAX_BLOCKS {
            let block = match self.seed {
                Some(seed) => seeded(seed, about, count),
                None => entropy::block().map_err(|error| {
                    Failure::new(Kind::Permanent, codes::INTERNAL, error.to_string())
                })?,
            };
            let left = wanted.saturating_sub(text.len());
            let drawn = block.iter().filter_map(|byte| drawn(characters, *byte));
            text.extend(drawn.take(left));
            if text.len() >= wanted {
                return Ok(text);
            }
        }
        let message = "random bytes came to no value";
        Err(Failure::new(Kind::Permanent, codes::INTERNAL, message))
    }
}

/// A character by a random byte; none for a byte by which some would come more often than others.
fn drawn(characters: &[u8], byte: u8) -> Option<char> {
    let place = usize::from(byte);
    let rest = 256_usize.checked_rem(characters.len())?;
    let fair = 256_usize.saturating_sub(rest);
    let place = (place < fair).then(|| place.checked_rem(characters.len()))??;
    characters.get(place).map(|byte| char::from(*byte))
}

fn seeded(seed: u64, about: &[&str], count: u32) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(seed.to_be_bytes());
    digest.update(count.to_be_bytes());
    for part in about {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.finalize().into()
}

/// What a copy says of itself.
pub(super) fn notes(
    source: &Source,
    keys: &BTreeMap<String, NewValue>,
    earlier: &BTreeSet<String>,
) -> Map<String, Value> {
    let rotated: BTreeSet<&str> = keys.keys().chain(earlier).map(String::as_str).collect();
    let rotated: Vec<&str> = rotated.into_iter().collect();
    let source = format!("{}/{}", source.uid, source.version);
    Map::from_iter([
        (ROTATED.to_owned(), rotated.join(",").into()),
        (SOURCE.to_owned(), source.into()),
    ])
}

/// The keys of a copy that have other values than the Secret it is one of.
fn rotated(live: &Value, of: &str) -> BTreeSet<String> {
    let note = |name| deployment::labelled(live, "/metadata/annotations", name);
    let keys = note(ROTATED).filter(|_| note(COPY_OF) == Some(of));
    let keys = keys.unwrap_or_default().split(',');
    keys.filter(|key| config::is_key(key))
        .map(str::to_owned)
        .collect()
}

/// A Secret as it stands, and what the workload refers to of it.
struct Standing<'a> {
    asked: &'a ConfigAsked<'a>,
    source: Source,
    found: Value,
    live: Option<Value>,
    before: String,
    idle: Option<String>,
    /// The keys whose rotated values the new version keeps; none where it gets the Secret's own.
    kept: BTreeSet<String>,
}

impl Standing<'_> {
    /// What the copy is made of.
    fn base(&self) -> &Value {
        match (&self.live, self.kept.is_empty()) {
            (Some(live), false) => live,
            _ => &self.found,
        }
    }

    fn old(&self) -> BTreeMap<String, String> {
        self.live.as_ref().map(values).unwrap_or_default()
    }
}

impl KubeCluster {
    /// The same cluster, where keys of Secrets can be rotated: to these credentials, and to what chance gives, which
    /// follows from the seed if there is one.
    #[must_use]
    pub fn with_values(mut self, credentials: Arc<dyn Credentials>, seed: Option<u64>) -> Self {
        self.values = Values {
            credentials: Some(credentials),
            seed,
        };
        self
    }

    /// What the new version refers to of a Secret.
    pub(super) async fn secret_version(
        &self,
        target: &Target,
        asked: &ConfigAsked<'_>,
        before: String,
        idle: Option<String>,
    ) -> Result<Versioned, Failure> {
        let (kind, of) = (ConfigKind::Secret, asked.of);
        let found = self.config(target, kind, of).await?;
        let found = found.ok_or_else(|| missing(target, kind, of))?;
        let live = match before == of {
            true => Some(found.clone()),
            false => self.config(target, kind, &before).await?,
        };
        let source = source_of(&found);
        let earlier = live.as_ref().map(|live| rotated(live, of));
        let earlier = earlier.unwrap_or_default();
        let rotates = |key: &String| asked.rotate.is_some_and(|keys| keys.contains_key(key));
        let lost: Vec<&str> = earlier
            .iter()
            .filter(|key| !rotates(key))
            .map(String::as_str)
            .collect();
        let keeps = !asked.afresh && !lost.is_empty();
        if keeps
            && let Some(live) = &live
            && !is_made_of(live, &source)
        {
            return Err(would_be_lost(of, &before, &lost));
        }
        let standing = Standing {
            asked,
            source,
            found,
            live,
            before,
            idle,
            kept: match keeps {
                true => lost.iter().map(|key| (*key).to_owned()).collect(),
                false => BTreeSet::new(),
            },
        };
        match asked.rotate {
            None => self.as_it_stands(target, standing).await,
            Some(rotate) => self.with_new_values(target, standing, rotate).await,
        }
    }

    /// A plain copy, or the one with rotated keys that the pods refer to.
    async fn as_it_stands(
        &self,
        target: &Target,
        standing: Standing<'_>,
    ) -> Result<Versioned, Failure> {
        let (kind, of) = (ConfigKind::Secret, standing.asked.of);
        let changes = config::differences(&standing.old(), &values(standing.base()), false);
        let Source { uid, version } = standing.source;
        let stays = !standing.kept.is_empty();
        let name = match stays {
            true => standing.before.clone(),
            false => copy_of_object(&target.workload, of, &uid, &version),
        };
        Ok(Versioned {
            there: stays || self.copy_is_there(target, kind, of, &name).await?,
            copy: ConfigCopy {
                kind,
                of: of.to_owned(),
                name,
                content: Content::Cluster { uid, version },
            },
            before: standing.before,
            idle: standing.idle,
            changes,
        })
    }

    async fn with_new_values(
        &self,
        target: &Target,
        standing: Standing<'_>,
        rotate: &BTreeMap<String, Rotate>,
    ) -> Result<Versioned, Failure> {
        let of = standing.asked.of;
        let there = values(standing.base());
        let absent = rotate
            .iter()
            .filter(|(key, rotate)| !rotate.new && !there.contains_key(*key));
        let absent: Vec<&str> = absent.map(|(key, _)| key.as_str()).collect();
        if !absent.is_empty() {
            return Err(not_there(of, &absent, &there));
        }
        let keys: BTreeMap<String, NewValue> = rotate
            .iter()
            .filter_map(|(key, rotate)| Some((key.clone(), rotate.value()?)))
            .collect();
        let made_of = source_of(standing.base());
        let name = self.free_name(target, of, &made_of, &keys).await?;
        let (mut old, mut new) = (standing.old(), there);
        let mut changes = told(&keys, &new);
        old.retain(|key, _| !keys.contains_key(key));
        new.retain(|key, _| !keys.contains_key(key));
        changes.extend(config::differences(&old, &new, false));
        let base = match standing.kept.is_empty() {
            true => of.to_owned(),
            false => standing.before.clone(),
        };
        let content = Content::Rotated {
            base,
            uid: made_of.uid,
            version: made_of.version,
            source: standing.source,
            keys,
            earlier: standing.kept,
        };
        Ok(Versioned {
            copy: ConfigCopy {
                kind: ConfigKind::Secret,
                of: of.to_owned(),
                name,
                content,
            },
            before: standing.before,
            idle: standing.idle,
            there: false,
            changes,
        })
    }

    /// The first name that no copy has: what an earlier run has made holds other values.
    async fn free_name(
        &self,
        target: &Target,
        of: &str,
        base: &Source,
        keys: &BTreeMap<String, NewValue>,
    ) -> Result<String, Failure> {
        for attempt in 0..MAX_NAMES {
            let name = copy_of_rotated(&target.workload, of, base, keys, attempt);
            let there = self.config(target, ConfigKind::Secret, &name).await?;
            if there.is_none() {
                return Ok(name);
            }
        }
        Err(Failure::new(
            Kind::Conflict,
            codes::CONFLICT,
            format!(
                "{MAX_NAMES} copies of the Secret `{of}` with these keys rotated are there already: expected that runs which went back took theirs away; delete those that nothing refers to"
            ),
        ))
    }
}

fn source_of(object: &Value) -> Source {
    let (uid, version) = identity(object);
    Source {
        uid: uid.to_owned(),
        version: version.to_owned(),
    }
}

/// Whether a copy's other keys are of that version of the Secret.
fn is_made_of(live: &Value, source: &Source) -> bool {
    let note = deployment::labelled(live, "/metadata/annotations", SOURCE);
    note.and_then(|note| note.split_once('/'))
        .is_some_and(|(uid, version)| uid == source.uid && version == source.version)
}

/// A line for each key that gets another value.
fn told(keys: &BTreeMap<String, NewValue>, there: &BTreeMap<String, String>) -> Vec<String> {
    let line = |(key, value): (&String, &NewValue)| match there.contains_key(key) {
        true => format!("{key}: rotated {value}"),
        false => format!("{key}: new, {value}"),
    };
    keys.iter().map(line).collect()
}

fn would_be_lost(of: &str, live: &str, lost: &[&str]) -> Failure {
    let keys = listed(lost.iter().copied());
    Failure::new(
        Kind::Permanent,
        codes::ROTATED_KEYS_LOST,
        format!(
            "the Secret `{of}` was changed since {keys} of its copy `{live}`, which the workload refers to, was rotated: expected to lose neither; rotate the same again, or put the values that are to hold into `{of}` and say `base: source`"
        ),
    )
}

fn not_there(name: &str, absent: &[&str], there: &BTreeMap<String, String>) -> Failure {
    let (absent, there) = (
        listed(absent.iter().copied()),
        listed(there.keys().map(String::as_str)),
    );
    Failure::new(
        Kind::Permanent,
        codes::KEY_NOT_THERE,
        format!(
            "the Secret `{name}` has no key {absent} that could be rotated: expected one of {there}; where a key is to be added, say `new: true`"
        ),
    )
}

#[cfg(test)]
mod tests {
    use phasegate_core::config::Alphabet;

    use super::*;

    fn values(seed: Option<u64>) -> Values {
        Values {
            credentials: None,
            seed,
        }
    }

    #[test]
    fn chance_gives_what_was_asked_for_and_a_seed_the_same_again() {
        for alphabet in [Alphabet::Alphanumeric, Alphabet::LowerCase, Alphabet::Hex] {
            for length in [16, 256] {
                let random = Random { length, alphabet };
                let draw =
                    |seed, about: &str| values(seed).random(random, &[about, "key"]).unwrap();
                let (one, other) = (draw(None, "a"), draw(None, "a"));
                assert_ne!(one, other);
                assert_eq!(one.len(), usize::try_from(length).unwrap());
                assert!(one.chars().all(|c| alphabet.characters().contains(c)));
                assert_eq!(draw(Some(7), "a"), draw(Some(7), "a"));
                assert_ne!(draw(Some(7), "a"), draw(Some(8), "a"));
                assert_ne!(draw(Some(7), "a"), draw(Some(7), "b"));
            }
        }
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        for alphabet in [Alphabet::Alphanumeric, Alphabet::LowerCase, Alphabet::Hex] {
            let mut counts = BTreeMap::new();
            for byte in 0..=u8::MAX {
                if let Some(c) = drawn(alphabet.characters().as_bytes(), byte) {
                    *counts.entry(c).or_insert(0) += 1;
                }
            }
            let (least, most) = (counts.values().min(), counts.values().max());
            assert_eq!(least, most);
            assert_eq!(counts.len(), alphabet.characters().len());
        }
    }
}
