//! A candidate beside stable: canary and blue-green.

use super::plans::*;
use super::sim::*;
use crate::run::End;

#[test]
fn every_way_of_bringing_up_a_candidate_succeeds() {
    for plan in [canary(), canary_by_replicas(), blue_green()] {
        let mut sim = Sim::new(plan);
        sim.rest();
        assert_eq!(sim.end(), End::Succeeded, "{}", sim.story());
        sim.check_end();
        sim.check_replay();
    }
}
