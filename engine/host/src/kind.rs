//! The kinds of plugins, and what the contract of each lets it do at all.

use std::fmt;

/// What a plugin can be. One plugin may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Plans steps. Pure: no clock, no randomness, no requests.
    Strategy,
    /// Asks the outside world a question.
    Gate,
    /// Brings a database from one schema to the next.
    Migrator,
    /// Shares traffic.
    Router,
    /// Does one thing beside the workload.
    Action,
    /// Tells people.
    Notifier,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Strategy,
        Self::Gate,
        Self::Migrator,
        Self::Router,
        Self::Action,
        Self::Notifier,
    ];

    /// Its word in releases and contracts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Gate => "gate",
            Self::Migrator => "migrator",
            Self::Router => "router",
            Self::Action => "action",
            Self::Notifier => "notifier",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The version of its contract that this engine speaks.
    pub(crate) const fn version(self) -> &'static str {
        "0.1.0"
    }

    /// The interface that a plugin of this kind exports.
    pub(crate) fn interface(self) -> String {
        let name = self.name();
        format!("phasegate:{name}/{name}@{}", self.version())
    }

    /// Whether its contract imports this interface of `phasegate:host`. A component may import more,
    /// because it is of several kinds; in a call of this kind the rest is denied.
    pub(crate) const fn may(self, capability: Service) -> bool {
        match capability {
            Service::Http => matches!(self, Self::Gate | Self::Action | Self::Notifier),
            Service::Kubernetes => matches!(self, Self::Gate | Self::Router | Self::Action),
            Service::Runner => matches!(self, Self::Gate | Self::Migrator | Self::Action),
            Service::Artifacts => matches!(self, Self::Action),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the engine does for plugins with the outside world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Http,
    Kubernetes,
    Runner,
    Artifacts,
}

impl Service {
    /// By which imports it is reached.
    pub(crate) const fn interfaces(self) -> &'static str {
        match self {
            Self::Http => "HTTP (phasegate:host/http, wasi:http)",
            Self::Kubernetes => "phasegate:host/kubernetes",
            Self::Runner => "phasegate:host/runner",
            Self::Artifacts => "phasegate:host/artifacts",
        }
    }
}
