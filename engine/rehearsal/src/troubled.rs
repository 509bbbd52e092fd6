//! The ports with [`Trouble`] in them: each call asks what becomes of it before it is made.

use std::sync::Arc;

use phasegate_runtime::engine::Engine;
use phasegate_runtime::perform::World;

use crate::misfortune::Fate;
use crate::trouble::Trouble;

mod cluster;
mod hand;
mod journal;
mod leases;
mod plugins;

use cluster::TroubledCluster;
use hand::Hand;
use journal::TroubledJournal;
use leases::WatchedLeases;
use plugins::TroubledPlugins;

/// The same engine, with trouble at its ports.
#[must_use]
pub fn troubled(engine: &Engine, trouble: &Arc<Trouble>, fate: &Arc<Fate>) -> Engine {
    let leases = Arc::new(WatchedLeases::new(engine.leases.clone()));
    let hand = Hand {
        trouble: trouble.clone(),
        fate: fate.clone(),
        clock: engine.world.clock.clone(),
        leases: leases.clone(),
    };
    Engine {
        world: World {
            cluster: Arc::new(TroubledCluster(engine.world.cluster.clone(), hand.clone())),
            plugins: Arc::new(TroubledPlugins(engine.world.plugins.clone(), hand.clone())),
            clock: engine.world.clock.clone(),
        },
        journal: Arc::new(TroubledJournal(engine.journal.clone(), hand)),
        leases,
    }
}
