//! Reports of runs that take place in a small world, which answers as a test wants.

mod bounds;
mod page;
mod plans;
mod story;
mod strict;
mod world;
