//! Write [Phasegate](https://github.com/phasegate/phasegate) plugins in Rust.
//!
//! A plugin is a WebAssembly component that supplies strategies, gates, migrators, routers, actions
//! or notifiers. Each is a type that implements the trait of its kind ([`Gate`], [`Strategy`],
//! [`Migrator`], [`Router`], [`Action`], [`Notifier`]). The type is its config: the fields are what
//! a release file sets, and their JSON Schema is derived. [`export!`] makes a component of them.
//!
//! ```
//! use phasegate_plugin::{Ask, Gate, Question, Result, Verdict, http};
//!
//! /// Passes while nobody complains.
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(rename_all = "camelCase", deny_unknown_fields)]
//! struct Complaints {
//!     /// Where the number of complaints is read.
//!     url: String,
//!     /// How many are too many.
//!     limit: u64,
//! }
//!
//! impl Gate for Complaints {
//!     const NAME: &'static str = "complaints";
//!     const SUMMARY: &'static str = "passes while there are few complaints";
//!
//!     fn evaluate(&self, _question: &Question) -> Result<Verdict> {
//!         let count: u64 = http::get(&self.url).send()?.json()?;
//!         if count < self.limit {
//!             return Ok(Verdict::pass(format!("{count} complaints")));
//!         }
//!         Ok(Verdict::fail(format!("{count} complaints, {} are too many", self.limit)))
//!     }
//! }
//!
//! phasegate_plugin::export! {
//!     name: "complaints",
//!     summary: "What the hotline hears",
//!     gates: [Complaints],
//!     asks: [Ask::HttpFromConfig("/url")],
//! }
//!
//! # fn main() {
//! use phasegate_plugin::testing::{Fake, question};
//! use serde_json::json;
//!
//! let config = json!({ "url": "https://hotline.example/count", "limit": 3 });
//! let mut world = Fake::new().http("GET https://hotline.example/count", 200, "7");
//! let verdict = world.run(|| PLUGIN.evaluate(&question("complaints", config))).unwrap();
//! assert_eq!(verdict.reason, "7 complaints, 3 are too many");
//! # }
//! ```
//!
//! What a plugin can reach is in [`http`], [`kubernetes`], [`runner`], [`artifacts`], [`log`] and
//! [`clock`]; a component imports only what it uses. [`testing`] runs a plugin in `cargo test`,
//! without WebAssembly.

pub mod action;
pub mod artifacts;
pub mod clock;
pub mod gate;
pub mod http;
pub mod kubernetes;
pub mod log;
pub mod migrator;
pub mod notifier;
pub mod router;
pub mod runner;
pub mod strategy;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

mod call;
mod config;
mod duration;
mod error;
mod host;
mod plugin;

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod exported;

pub use action::Action;
pub use call::{Call, Link, Pair, Problem, Release, SideNames, Split, WorkloadNames};
pub use config::Config;
pub use duration::Duration;
pub use error::{Error, Result};
pub use gate::{Gate, Measurement, Question, Status, Verdict};
pub use migrator::Migrator;
pub use notifier::{Notice, Notifier};
pub use plugin::{Ask, Capability, Description, Offer, Plugin};
pub use router::{Features as RouterFeatures, Reading, Router, Target as RouterTarget};
pub use strategy::{Situation, Step, Strategy};

/// The README's example is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Makes a component: the static [`PLUGIN`](Plugin), and in WebAssembly the exports of the kinds
/// that are named, and of no others.
///
/// `name` and `summary` come first; then whichever of `strategies`, `gates`, `migrators`,
/// `routers`, `actions`, `notifiers` there are, and `asks`, all in this order. The version is that
/// of the crate.
#[macro_export]
macro_rules! export {
    (
        name: $name:expr,
        summary: $summary:expr,
        $(strategies: [$($strategy:ty),+ $(,)?],)?
        $(gates: [$($gate:ty),+ $(,)?],)?
        $(migrators: [$($migrator:ty),+ $(,)?],)?
        $(routers: [$($router:ty),+ $(,)?],)?
        $(actions: [$($action:ty),+ $(,)?],)?
        $(notifiers: [$($notifier:ty),+ $(,)?],)?
        $(asks: [$($ask:expr),* $(,)?] $(,)?)?
    ) => {
        /// What this crate's component contains.
        pub static PLUGIN: $crate::Plugin = $crate::Plugin {
            name: $name,
            version: env!("CARGO_PKG_VERSION"),
            summary: $summary,
            strategies: &[$($($crate::strategy::Entry::of::<$strategy>()),+)?],
            gates: &[$($($crate::gate::Entry::of::<$gate>()),+)?],
            migrators: &[$($($crate::migrator::Entry::of::<$migrator>()),+)?],
            routers: &[$($($crate::router::Entry::of::<$router>()),+)?],
            actions: &[$($($crate::action::Entry::of::<$action>()),+)?],
            notifiers: &[$($($crate::notifier::Entry::of::<$notifier>()),+)?],
            asks: &[$($($ask),*)?],
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are generated")]
        const _: () = {
            struct Component;

            impl $crate::exported::Exported for Component {
                fn plugin() -> &'static $crate::Plugin {
                    &PLUGIN
                }
            }

            $crate::bindings::meta::__export_meta!(Component);
            $crate::__export_kind!(strategy::__export_strategy Component $($($strategy)+)?);
            $crate::__export_kind!(gate::__export_gate Component $($($gate)+)?);
            $crate::__export_kind!(migrator::__export_migrator Component $($($migrator)+)?);
            $crate::__export_kind!(router::__export_router Component $($($router)+)?);
            $crate::__export_kind!(action::__export_action Component $($($action)+)?);
            $crate::__export_kind!(notifier::__export_notifier Component $($($notifier)+)?);
        };
    };
}

/// Exports a kind where the plugin has any of it.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_kind {
    ($module:ident::$macro:ident $component:ident) => {};
    ($module:ident::$macro:ident $component:ident $($some:ty)+) => {
        $crate::bindings::$module::$macro!($component);
    };
}
