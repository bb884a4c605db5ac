//! How many bytes the entries of a log take, by their place: to the nearest mark, without a record of each entry.

use std::collections::VecDeque;

use crate::limits::{LOG_VOLUME_MARKS, LOG_VOLUME_STEP_BYTES};

/// All entries up to `index` take `total` bytes, counted from where the count began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    index: u64,
    total: u64,
}

/// Bytes of entries by index. Whatever was purged counts no more.
#[derive(Debug, Clone)]
pub(super) struct LogVolume {
    /// What lies before all marks.
    base: Mark,
    marks: VecDeque<Mark>,
    end: Mark,
    step_bytes: u64,
}

impl Default for LogVolume {
    fn default() -> Self {
        Self {
            base: Mark::default(),
            marks: VecDeque::new(),
            end: Mark::default(),
            step_bytes: LOG_VOLUME_STEP_BYTES,
        }
    }
}

impl LogVolume {
    /// Counts the entry that follows the last one.
    pub(super) fn push(&mut self, index: u64, bytes: usize) {
        self.end = Mark { index, total: self.end.total + bytes as u64 };
        let last = self.marks.back().unwrap_or(&self.base).total;
        if self.end.total - last >= self.step_bytes {
            self.marks.push_back(self.end);
            self.thin_out();
        }
    }

    /// Forgets every second mark when there are too many: a log that is not purged is counted more coarsely.
    fn thin_out(&mut self) {
        if self.marks.len() > LOG_VOLUME_MARKS {
            self.step_bytes *= 2;
            let mut number = 0;
            self.marks.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        }
    }

    /// Forgets all entries from this index on.
    pub(super) fn truncate_from(&mut self, next: u64) {
        while self.marks.back().is_some_and(|mark| mark.index >= next) {
            self.marks.pop_back();
        }
        if self.end.index >= next {
            self.end = *self.marks.back().unwrap_or(&self.base);
        }
    }

    /// Forgets all entries up to this one.
    pub(super) fn purge(&mut self, upto: u64) {
        while let Some(mark) = self.marks.front().copied().filter(|mark| mark.index <= upto) {
            self.marks.pop_front();
            self.base = mark;
        }
        if self.end.index <= upto {
            self.base = Mark { index: upto, total: self.end.total };
            self.end = self.base;
        }
    }

    /// About how many bytes the entries after one, up to another, take.
    pub(super) fn between(&self, after: u64, upto: u64) -> u64 {
        self.total(upto).saturating_sub(self.total(after))
    }

    /// The first entry such that those after it, up to `upto`, take about `bytes` at most; 0: all do.
    pub(super) fn keeping(&self, upto: u64, bytes: u64) -> u64 {
        let Some(least) = self.total(upto).checked_sub(bytes).filter(|least| *least > self.base.total) else {
            return 0;
        };
        let at = self.marks.partition_point(|mark| mark.total < least);
        self.marks.get(at).unwrap_or(&self.end).index.min(upto)
    }

    fn total(&self, index: u64) -> u64 {
        if index >= self.end.index {
            return self.end.total;
        }
        let at = self.marks.partition_point(|mark| mark.index <= index);
        at.checked_sub(1).and_then(|at| self.marks.get(at)).unwrap_or(&self.base).total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn of(entries: std::ops::Range<u64>, bytes: u64) -> LogVolume {
        let mut volume = LogVolume::default();
        entries.for_each(|index| volume.push(index, bytes as usize));
        volume
    }

    #[test]
    fn bytes_are_known_to_the_nearest_mark() {
        let volume = of(1..1_001, MIB / 10);
        let near =
            |found: u64, wanted: u64| assert!(found.abs_diff(wanted) <= 2 * MIB, "{found}, not {wanted}");
        near(volume.between(0, 1_000), 100 * MIB);
        near(volume.between(500, 1_000), 50 * MIB);
        near(volume.between(500, 600), 10 * MIB);
        assert_eq!(volume.between(700, 600), 0);
        assert_eq!(volume.between(2_000, 3_000), 0);
    }

    #[test]
    fn what_is_kept_is_the_newest_and_within_its_bytes() {
        let volume = of(1..1_001, MIB / 10);
        let kept_after = volume.keeping(1_000, 20 * MIB);
        assert!((800..=820).contains(&kept_after), "{kept_after}");
        let kept_after = volume.keeping(500, 20 * MIB);
        assert!((290..=320).contains(&kept_after), "{kept_after}");
        assert_eq!(volume.keeping(1_000, 200 * MIB), 0, "all of it");
    }

    #[test]
    fn one_entry_larger_than_all_that_is_kept_goes_too() {
        let volume = of(1..4, 8 * MIB);
        assert_eq!(volume.keeping(3, MIB), 3);
    }

    #[test]
    fn what_was_cut_off_or_purged_counts_no_more() {
        let mut volume = of(1..1_001, MIB / 10);
        volume.truncate_from(501);
        assert!(volume.between(0, 1_000).abs_diff(50 * MIB) <= 2 * MIB);
        volume.purge(400);
        assert!(volume.between(0, 1_000).abs_diff(10 * MIB) <= 2 * MIB);
        volume.purge(5_000);
        assert_eq!(volume.between(0, 9_000), 0);
        volume.push(5_001, 4 * MIB as usize);
        assert_eq!(volume.between(5_000, 5_001), 4 * MIB);
    }

    #[test]
    fn there_is_a_bounded_number_of_marks() {
        let volume = of(1..20_000, 2 * MIB);
        assert!(volume.marks.len() <= LOG_VOLUME_MARKS, "{}", volume.marks.len());
        let all = volume.between(0, 20_000);
        assert_eq!(all, 19_999 * 2 * MIB);
        let half = volume.between(10_000, 20_000);
        assert!(half.abs_diff(all / 2) < all / 100, "{half} of {all}");
    }
}
