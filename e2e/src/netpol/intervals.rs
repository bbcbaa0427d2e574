//! Sets of numbers as ranges: addresses and ports.
//!
//! Guarantees that ranges are sorted, disjoint and not adjacent, which nftables interval sets need and which makes
//! equal sets equal values. Must never hold an empty range.

/// A set of numbers, kept as inclusive ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Intervals(Vec<(u32, u32)>);

impl Intervals {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, value: u32) -> bool {
        self.0.iter().any(|&(first, last)| (first..=last).contains(&value))
    }

    pub fn ranges(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.0.iter().copied()
    }

    /// Adds every number from `first` to `last`; nothing if they are the wrong way round.
    pub fn insert(&mut self, first: u32, last: u32) {
        self.union(std::iter::once((first, last)));
    }

    /// Adds ranges given in any order, overlapping or not.
    pub fn union(&mut self, ranges: impl IntoIterator<Item = (u32, u32)>) {
        let mut all = std::mem::take(&mut self.0);
        all.extend(ranges.into_iter().filter(|(first, last)| first <= last));
        all.sort_unstable();
        for (first, last) in all {
            match self.0.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => {
                    previous.1 = previous.1.max(last);
                }
                _ => self.0.push((first, last)),
            }
        }
    }

    /// Takes away every number from `first` to `last`.
    pub fn remove(&mut self, first: u32, last: u32) {
        let before = std::mem::take(&mut self.0);
        for (low, high) in before {
            if high < first || low > last {
                self.0.push((low, high));
                continue;
            }
            if let Some(end) = first.checked_sub(1)
                && low <= end
            {
                self.0.push((low, end));
            }
            if let Some(start) = last.checked_add(1)
                && start <= high
            {
                self.0.push((start, high));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ranges: &[(u32, u32)]) -> Intervals {
        let mut set = Intervals::default();
        set.union(ranges.iter().copied());
        set
    }

    #[test]
    fn overlapping_and_adjacent_ranges_become_one() {
        assert_eq!(of(&[(5, 9), (1, 2), (3, 6)]), of(&[(1, 9)]));
        assert_ne!(of(&[(1, 2), (4, 5)]), of(&[(1, 5)]));
    }

    #[test]
    fn removing_splits_and_reaches_both_ends() {
        let mut set = of(&[(0, u32::MAX)]);
        set.remove(0, 9);
        set.remove(20, 29);
        set.remove(u32::MAX - 1, u32::MAX);
        assert_eq!(set, of(&[(10, 19), (30, u32::MAX - 2)]));
        assert!(set.contains(10) && !set.contains(25) && !set.contains(u32::MAX));
    }

    #[test]
    fn a_range_the_wrong_way_round_adds_nothing() {
        assert!(of(&[(9, 5)]).is_empty());
    }
}
