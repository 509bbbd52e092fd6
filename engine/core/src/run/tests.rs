//! What a run does, told by a world that answers it.

pub(super) mod plans;

mod acts;
mod acts_between;
mod answers;
mod beside;
mod commands;
mod configs;
mod conflicts;
mod drift;
mod faults;
mod journal;
mod people;
mod props;
mod rollback;
mod scenarios;
pub(super) mod sim;
mod stable;
mod stirred;
mod supersede;
mod unclaimed;
