//! Where each value of a document stands: a tree beside the value.
//!
//! A tree and not a map from pointers, since a file could make all its pointers long.

use std::collections::BTreeMap;

/// A line and a column, both counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Counted from 1.
    pub line: u32,
    /// Counted from 1, in characters.
    pub column: u32,
}

/// The positions of one value, and of what it holds.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    pub(super) value: Mark,
    pub(super) key: Option<Mark>,
    pub(super) children: Children,
}

/// What a value holds.
#[derive(Clone, Debug)]
pub(super) enum Children {
    None,
    List(Vec<Marks>),
    Map(BTreeMap<String, Marks>),
}

impl Marks {
    /// The positions of a scalar.
    pub(super) fn leaf(value: Mark) -> Self {
        Self {
            value,
            key: None,
            children: Children::None,
        }
    }

    pub(super) fn value(&self, pointer: &str) -> Mark {
        self.walk(pointer).0.value
    }

    /// The key's position if the pointer leads all the way, else the value's of the last ancestor.
    pub(super) fn key(&self, pointer: &str) -> Mark {
        let (found, whole) = self.walk(pointer);
        found.key.filter(|_| whole).unwrap_or(found.value)
    }

    /// The part that a pointer leads to, or the last ancestor that exists; and which of the two.
    fn walk(&self, pointer: &str) -> (&Self, bool) {
        let mut here = self;
        for segment in pointer.split('/').skip(1) {
            let next = match &here.children {
                Children::None => None,
                Children::List(items) => segment
                    .parse::<usize>()
                    .ok()
                    .and_then(|index| items.get(index)),
                Children::Map(fields) => fields.get(&unescape(segment)),
            };
            match next {
                Some(next) => here = next,
                None => return (here, false),
            }
        }
        (here, true)
    }
}

/// A name as a segment of a JSON pointer: `~` and `/` are written `~0` and `~1`.
#[must_use]
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// A count as a line or column number.
pub(super) fn clamp(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
