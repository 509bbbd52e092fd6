//! What both checkers need: faults at pointers, and texts that carry a code through serde.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, codes, listed, nearest};
use crate::time::Span;
use crate::yaml::{Document, coded_text};

use super::name;
use super::policy::Policy;

/// The longest duration within a run. Plugins count milliseconds in 32 bits, which are 49 days.
pub(super) const MAX_DURATION: Span = Span::from_mins(30 * 24 * 60);
/// Most entries of any list or mapping of a file.
pub(super) const MAX_ENTRIES: usize = 64;
/// Most people that an approval may ask for.
pub(super) const MAX_PEOPLE: u32 = 20;

/// The text of an error that serde carries, with its code.
pub(super) fn coded(code: Code, message: &str) -> String {
    coded_text(code, message)
}

/// The one alternative that is given.
pub(super) fn exactly_one<T, const N: usize>(
    subject: &str,
    alternatives: [(&str, Option<T>); N],
) -> Result<T, String> {
    let names: Vec<&str> = alternatives.iter().map(|(name, _)| *name).collect();
    let given: Vec<(&str, T)> = alternatives
        .into_iter()
        .filter_map(|(name, value)| value.map(|v| (name, v)))
        .collect();
    let found: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
    let fault = |found: String| {
        coded(
            codes::CONTRADICTION,
            &format!(
                "{subject} takes exactly one of {}, and has {found}",
                quoted(&names)
            ),
        )
    };
    match found.as_slice() {
        [] => Err(fault("none".to_owned())),
        [_] => given
            .into_iter()
            .next()
            .map(|(_, value)| value)
            .ok_or_else(|| fault("none".to_owned())),
        several => Err(fault(quoted(several))),
    }
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Collects the faults of one file.
pub(super) struct Checker<'a> {
    document: &'a Document,
    pub(super) faults: Diagnostics,
}

impl<'a> Checker<'a> {
    pub(super) fn new(document: &'a Document) -> Self {
        Self {
            document,
            faults: Diagnostics::new(),
        }
    }

    /// A fault at a value.
    pub(super) fn fault(
        &mut self,
        code: Code,
        pointer: &str,
        build: impl FnOnce(Diagnostic) -> Diagnostic,
        message: impl Into<String>,
    ) {
        let fault = Diagnostic::new(code, message).at(self.document.place(pointer));
        self.faults.push(build(fault));
    }

    /// A fault at a key.
    pub(super) fn fault_at_key(
        &mut self,
        code: Code,
        pointer: &str,
        build: impl FnOnce(Diagnostic) -> Diagnostic,
        message: impl Into<String>,
    ) {
        let fault = Diagnostic::new(code, message).at(self.document.key_place(pointer));
        self.faults.push(build(fault));
    }

    /// A reference must lead to something that is defined.
    pub(super) fn refers<'n>(
        &mut self,
        pointer: &str,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        self.refers_as(codes::DANGLING_NAME, pointer, what, name, known);
    }

    pub(super) fn refers_as<'n>(
        &mut self,
        code: Code,
        pointer: &str,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        if known.contains(&name) {
            return;
        }
        let meant = nearest(name, known.iter().copied()).map(str::to_owned);
        let expected = listed(known);
        self.fault(
            code,
            pointer,
            |fault| {
                let fault = fault.expected(expected).found(format!("`{name}`"));
                match meant {
                    Some(meant) => fault.hint(format!("did you mean `{meant}`?")),
                    None => fault.hint(format!("define the {what}, or use one that is defined")),
                }
            },
            format!("there is no {what} named `{name}`"),
        );
    }

    /// Names that tell things apart must differ.
    pub(super) fn distinct<'n>(
        &mut self,
        what: &str,
        names: impl IntoIterator<Item = (&'n str, String)>,
    ) {
        let mut seen: std::collections::BTreeMap<&str, String> = std::collections::BTreeMap::new();
        for (name, pointer) in names {
            let Some(first) = seen.get(name) else {
                seen.insert(name, pointer);
                continue;
            };
            let first_line = self.document.place(first).line.unwrap_or_default();
            self.fault(
                codes::DUPLICATE_NAME,
                &pointer,
                |fault| {
                    fault
                        .found(format!("`{name}` here and on line {first_line}"))
                        .hint("rename one of the two")
                },
                format!("two {what} are named `{name}`"),
            );
        }
    }

    /// A name that becomes a part of names in the cluster or the journal.
    pub(super) fn label(&mut self, pointer: &str, what: &str, text: &str) {
        if !name::is_label(text) {
            self.bad_name(pointer, what, text, "lower-case letters, digits and hyphens, at most 63, a letter or digit at both ends");
        }
    }

    /// A name of an object in the cluster.
    pub(super) fn subdomain(&mut self, pointer: &str, what: &str, text: &str) {
        if !name::is_subdomain(text) {
            self.bad_name(pointer, what, text, "lower-case letters, digits, hyphens and dots, at most 253, a letter or digit at both ends");
        }
    }

    fn bad_name(&mut self, pointer: &str, what: &str, text: &str, expected: &str) {
        let article = if what.starts_with(['a', 'e', 'i', 'o', 'u']) {
            "an"
        } else {
            "a"
        };
        self.fault_at_key(
            codes::BAD_NAME,
            pointer,
            |fault| fault.expected(expected).found(format!("`{text}`")),
            format!("this can't be the name of {article} {what}"),
        );
    }

    /// A duration that must be some time, and not more than a run can hold.
    pub(super) fn duration(&mut self, pointer: &str, what: &str, span: Span) {
        if span == Span::ZERO {
            self.number(
                pointer,
                format!("{what} can't be zero"),
                "more than zero",
                "0s",
            );
        } else {
            self.at_most(pointer, what, span);
        }
    }

    /// A duration that may be zero.
    pub(super) fn at_most(&mut self, pointer: &str, what: &str, span: Span) {
        if span > MAX_DURATION {
            self.number(
                pointer,
                format!("{what} is too long"),
                &format!("at most {MAX_DURATION}"),
                &span.to_string(),
            );
        }
    }

    /// How many people must agree.
    pub(super) fn people(&mut self, pointer: &str, count: u32) {
        if count == 0 || count > MAX_PEOPLE {
            self.number(
                pointer,
                "this many people can't be asked for".to_owned(),
                &format!("1 to {MAX_PEOPLE}"),
                &count.to_string(),
            );
        }
    }

    /// A number that can't hold.
    pub(super) fn number(&mut self, pointer: &str, message: String, expected: &str, found: &str) {
        self.fault(
            codes::IMPOSSIBLE_NUMBER,
            pointer,
            |fault| fault.expected(expected).found(found),
            message,
        );
    }

    /// A list or mapping that is longer than any real one.
    pub(super) fn bounded(&mut self, pointer: &str, what: &str, length: usize) {
        if length > MAX_ENTRIES {
            self.fault(
                codes::TOO_MANY,
                pointer,
                |fault| {
                    fault
                        .expected(format!("at most {MAX_ENTRIES}"))
                        .found(length.to_string())
                },
                format!("there are too many {what}"),
            );
        }
    }

    /// A list that must name something.
    pub(super) fn not_empty(&mut self, pointer: &str, what: &str, empty: bool) {
        if empty {
            self.fault(
                codes::IMPOSSIBLE_NUMBER,
                pointer,
                |fault| fault.expected("at least one").found("none"),
                format!("{what} is empty"),
            );
        }
    }
}

impl Checker<'_> {
    /// A list with a limit of its own.
    pub(super) fn at_most_entries(
        &mut self,
        pointer: &str,
        what: &str,
        length: usize,
        limit: usize,
    ) {
        if length > limit {
            self.fault(
                codes::TOO_MANY,
                pointer,
                |f| {
                    f.expected(format!("at most {limit}"))
                        .found(length.to_string())
                },
                format!("there are too many {what}"),
            );
        }
    }

    /// As many people must hold the roles as are asked for.
    pub(super) fn enough_people(
        &mut self,
        pointer: &str,
        policy: &Policy,
        roles: &[String],
        count: u32,
    ) {
        let known = roles.iter().all(|role| policy.roles.contains_key(role));
        let people = policy.people(roles).len();
        if known && !roles.is_empty() && u32::try_from(people).unwrap_or(u32::MAX) < count {
            self.fault(
                codes::APPROVAL_IMPOSSIBLE,
                &format!("{pointer}/count"),
                |f| {
                    f.expected(format!(
                        "at most {people}, which is how many hold the roles"
                    ))
                    .found(count.to_string())
                },
                "more people must approve than can",
            );
        }
    }
}
