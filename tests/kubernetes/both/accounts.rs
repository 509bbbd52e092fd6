//! Accounts for the people of a story: the engine takes a name from the operating system, and so each gets one that every machine has.

use serde_json::Value;

/// People, and whose account they use. Whoever isn't named uses that of the suite.
const ACCOUNTS: [(&str, &str); 6] = [
    ("ada", "sys"),
    ("barbara", "man"),
    ("grace", "bin"),
    ("linus", "daemon"),
    ("margaret", "games"),
    ("otto", "lp"),
];

/// Somebody's account.
pub(super) fn of(person: &Value) -> Option<&'static str> {
    let person = person.as_str()?;
    let account = ACCOUNTS.iter().find(|(name, _)| *name == person);
    account.map(|(_, account)| *account)
}

/// A policy with accounts in place of people.
pub(super) fn named(policy: &str) -> String {
    ACCOUNTS
        .iter()
        .fold(policy.to_owned(), |policy, (name, account)| {
            policy.replace(&format!("\"{name}\""), &format!("\"{account}\""))
        })
}
