//! A list of which the beginning and the end are kept: both tell more than the middle.

use std::collections::VecDeque;

use super::Cuts;

/// A list that keeps `MOST` of what it is given: the first half, and what came last.
#[derive(Debug)]
pub(crate) struct Ends<T, const MOST: usize> {
    first: Vec<T>,
    last: VecDeque<T>,
    given: usize,
}

impl<T, const MOST: usize> Default for Ends<T, MOST> {
    fn default() -> Self {
        Self {
            first: Vec::new(),
            last: VecDeque::new(),
            given: 0,
        }
    }
}

impl<T, const MOST: usize> Ends<T, MOST> {
    pub(crate) fn push(&mut self, item: T) {
        self.given = self.given.saturating_add(1);
        if self.first.len() < MOST / 2 {
            self.first.push(item);
            return;
        }
        if self.last.len() >= MOST - MOST / 2 {
            self.last.pop_front();
        }
        self.last.push_back(item);
    }

    /// What came last.
    pub(crate) fn last_mut(&mut self) -> Option<&mut T> {
        self.last.back_mut().or(self.first.last_mut())
    }

    /// What is kept; what isn't is noted.
    pub(crate) fn finish(self, what: &str, cuts: &mut Cuts) -> Vec<T> {
        let kept: Vec<T> = self.first.into_iter().chain(self.last).collect();
        cuts.note(what, self.given, kept.len());
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_left_out_and_counted() {
        let mut list = Ends::<u32, 5>::default();
        (1..=9).for_each(|number| list.push(number));
        *list.last_mut().unwrap() += 10;
        let mut cuts = Cuts::default();
        assert_eq!(list.finish("numbers", &mut cuts), [1, 2, 7, 8, 19]);
        assert_eq!((cuts.0[0].of, cuts.0[0].shown), (9, 5));
    }

    #[test]
    fn a_short_list_is_whole() {
        let mut list = Ends::<u32, 5>::default();
        (1..=5).for_each(|number| list.push(number));
        let mut cuts = Cuts::default();
        assert_eq!(list.finish("numbers", &mut cuts), [1, 2, 3, 4, 5]);
        assert!(cuts.0.is_empty());
    }
}
