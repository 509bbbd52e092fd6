//! The report of a run: a model of what its records say, and one HTML page of the model.
//!
//! Everything here is pure. [`report`] reads records and makes a [`model::Report`]; [`page`] makes a
//! page of it that needs nothing else: no script, no style sheet, no font, no image from elsewhere.
//! Texts of plugins, of clusters and of people are strangers' texts: `markup` is the one place where
//! text gets into a page, and it escapes all of it. `limits` bounds everything that can grow.

mod axis;
mod collect;
mod demand;
pub mod limits;
mod markup;
pub mod model;
mod page;
mod shown;

pub use collect::{Kept, Source, report};
pub use page::page;

#[cfg(test)]
mod tests;
