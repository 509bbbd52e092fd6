//! The simulated cluster and a real one, asked the same.
//!
//! A table of exchanges per kind stands in `agree/`; each is held with either cluster, in a namespace of the same name,
//! and the answers are compared as a whole, but for what is drawn by lot or read from a clock. What may
//! differ stands in `docs/simulation.md` with its reason: neither may anything else differ, nor may anything
//! stand there that doesn't. To add an exchange, add a line.

mod applying;
mod autoscalers;
mod configmaps;
mod deployments;
mod differ;
mod endpoints;
mod exchange;
mod jobs;
mod leases;
mod plain;
mod real;
mod rollouts;
mod services;
mod simulated;
mod templates;
mod views;
mod watches;

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use self::differ::{Difference, Listed};
use self::exchange::{Answer, Doing, Exchange, Kept, Wire};
use self::real::Real;
use self::simulated::Simulated;
use crate::space::Space;

/// Where it is said what differs.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulation.md");

/// The name of a table, and what it holds.
type Table = (&'static str, fn() -> Vec<Exchange>);

const TABLES: [Table; 11] = [
    ("applying", applying::table),
    ("autoscalers", autoscalers::table),
    ("configmaps", configmaps::table),
    ("deployments", deployments::table),
    ("endpoints", endpoints::table),
    ("jobs", jobs::table),
    ("leases", leases::table),
    ("rollouts", rollouts::table),
    ("services", services::table),
    ("templates", templates::table),
    ("watches", watches::table),
];

#[test]
fn both_clusters_answer_alike_but_for_what_is_listed() {
    let mut troubles = BTreeSet::new();
    let mut found = Vec::new();
    thread::scope(|scope| {
        let tables = TABLES.map(|table| (table.0, scope.spawn(move || compared(table))));
        for (name, table) in tables {
            match table.join() {
                Ok(differences) => found.extend(differences),
                Err(_) => drop(troubles.insert(format!("the table `{name}` broke off"))),
            }
        }
    });
    let text = std::fs::read_to_string(DOCUMENT).unwrap();
    let listed = differ::listed(&text);
    assert!(!listed.is_empty(), "the list in {DOCUMENT} can't be read");
    for difference in &found {
        if !listed.iter().any(|row| row.is_about(difference)) {
            troubles.insert(format!("not listed: {difference}"));
        }
    }
    for Listed(pattern) in &listed {
        if !found
            .iter()
            .any(|one| Listed(pattern.clone()).is_about(one))
        {
            troubles.insert(format!("listed, and no difference: `{pattern}`"));
        }
    }
    let troubles = Vec::from_iter(troubles);
    assert!(troubles.is_empty(), "\n{}", troubles.join("\n"));
}

/// Holds a table with both clusters, and says in what their answers differ.
fn compared((name, table): Table) -> Vec<Difference> {
    let space = Space::new(&format!("agree-{name}"));
    let mut real = Real::new(&space.name);
    let mut simulated = Simulated::new(&space.name);
    let (mut of_real, mut of_simulated) = (Kept::default(), Kept::default());
    let mut found = Vec::new();
    for exchange in table() {
        let there = held(&mut real, &exchange, &mut of_real);
        let here = held(&mut simulated, &exchange, &mut of_simulated);
        found.extend(differ::between(name, exchange.name, &here, &there));
    }
    found
}

/// Holds one exchange; what is to be compared of the answer.
fn held(wire: &mut dyn Wire, exchange: &Exchange, kept: &mut Kept) -> Value {
    let answer = match &exchange.doing {
        Doing::Ask(ask) => wire.send(&kept.filled(ask)),
        Doing::Until(ask, reached) => until(wire, exchange.name, &kept.filled(ask), *reached),
        Doing::Forget => {
            wire.forget();
            return Value::Null;
        }
    };
    if let Some(name) = exchange.keep {
        kept.keep(name, &answer);
    }
    json!({"code": answer.code, "body": plain::of(&(exchange.view)(&answer))})
}

/// How often it is looked whether something has come about.
const LOOKS: u32 = 600;

fn until(
    wire: &mut dyn Wire,
    what: &str,
    ask: &exchange::Ask,
    reached: fn(&Value) -> bool,
) -> Answer {
    let mut last = None;
    for _ in 0..LOOKS {
        let answer = wire.send(ask);
        if reached(&answer.body) {
            return answer;
        }
        last = Some(answer.body);
        wire.pass();
    }
    panic!(
        "{}: it was waited in vain until {what}: {}",
        wire.name(),
        last.unwrap_or_default()
    );
}
