//! The program as its users meet it: processes, files, exit codes.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, and set files up"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod awaited;
mod bad_input;
mod claims;
mod commands;
mod desk;
mod due;
mod full;
mod journal;
mod plan;
mod point;
mod rehearse;
mod report;
mod runs;
mod secret;
mod shared;
mod stream;
mod supersede;

#[path = "../../../store/tests/support/small_disk.rs"]
mod small_disk;
