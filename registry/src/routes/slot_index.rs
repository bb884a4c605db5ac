//! Finds a row's slot by the hash of its device.
//!
//! Open addressing with linear probing, slot and a tag of the hash in one word: a look-up at a million rows is bound by
//! cache misses, and this takes one where a table with separate control bytes takes two. It grows by half and is filled
//! to four fifths, so that it stays small enough to be cached.

/// Bits of a word for the slot: four million rows a shard, a thousand million in all.
const SLOT_BITS: u32 = 22;
const SLOT_MASK: u32 = (1 << SLOT_BITS) - 1;
/// The fewest words of a table in use.
const FIRST_WORDS: usize = 8;

/// Slots by hash. A word is 0 or holds the slot plus one below the hash's top bits.
#[derive(Debug, Default)]
pub(super) struct SlotIndex {
    words: Box<[u32]>,
    used: usize,
}

impl SlotIndex {
    /// The slot of this hash that `is_it` confirms.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            // No word at all: the table is empty.
            let word = *self.words.get(at)?;
            if word == 0 {
                return None;
            }
            if word & !SLOT_MASK == tag(hash) && is_it((word & SLOT_MASK) - 1) {
                return Some((word & SLOT_MASK) - 1);
            }
            at = self.after(at);
        }
    }

    /// Adds a slot that is not there yet. `hash_of` tells the hash of a slot added before, to make room.
    pub(super) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.used + 1) * 5 > self.words.len() * 4 {
            self.resize((self.words.len() * 3 / 2).max(FIRST_WORDS), hash_of);
        }
        self.used += 1;
        self.place(hash, slot);
    }

    /// Removes a slot. `hash_of` tells the hash of any other one.
    pub(super) fn remove(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        let Some(mut hole) = self.position(hash, slot) else { return };
        self.words[hole] = 0;
        self.used -= 1;
        // Those behind it may have been pushed past it: a search for them must not end at the hole (Knuth 6.4, R).
        let mut at = self.after(hole);
        while self.words[at] != 0 {
            let home = self.home(hash_of((self.words[at] & SLOT_MASK) - 1));
            if self.distance(home, at) >= self.distance(hole, at) {
                self.words[hole] = std::mem::take(&mut self.words[at]);
                hole = at;
            }
            at = self.after(at);
        }
    }

    /// The row of this hash is now in another slot.
    pub(super) fn moved(&mut self, hash: u64, from: u32, to: u32) {
        if let Some(at) = self.position(hash, from) {
            self.words[at] = tag(hash) | (to + 1);
        }
    }

    /// Gives room back that few slots are left in. `hash_of` tells the hash of a slot.
    pub(super) fn shrink(&mut self, hash_of: impl Fn(u32) -> u64) {
        if self.words.len() > FIRST_WORDS && self.used * 5 < self.words.len() {
            self.resize((self.used * 2).max(FIRST_WORDS), hash_of);
        }
    }

    /// Whether this many slots are in it, in no more room than they may take.
    pub(super) fn is_fit(&self, used: usize) -> bool {
        self.used == used && (self.words.len() <= FIRST_WORDS || used * 5 >= self.words.len())
    }

    fn resize(&mut self, words: usize, hash_of: impl Fn(u32) -> u64) {
        let old = std::mem::replace(&mut self.words, vec![0; words].into());
        for word in old.into_iter().filter(|word| *word != 0) {
            let slot = (word & SLOT_MASK) - 1;
            self.place(hash_of(slot), slot);
        }
    }

    /// Where the word of this slot is.
    fn position(&self, hash: u64, slot: u32) -> Option<usize> {
        let mut at = self.home(hash);
        loop {
            match *self.words.get(at)? {
                0 => return None,
                word if word & SLOT_MASK == slot + 1 => return Some(at),
                _ => at = self.after(at),
            }
        }
    }

    /// How many steps a search goes from one position to the other.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.words.len() - from }
    }

    fn place(&mut self, hash: u64, slot: u32) {
        let mut at = self.home(hash);
        while self.words[at] != 0 {
            at = self.after(at);
        }
        self.words[at] = tag(hash) | (slot + 1);
    }

    /// Where the search for a hash begins: its low bits, scaled to the table, which need not be a power of two.
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.words.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.words.len() { 0 } else { at + 1 }
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !SLOT_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_slots_are_found_after_growing_and_with_equal_hashes() {
        let hash = |slot: u32| u64::from(slot % 100).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = SlotIndex::default();
        assert_eq!(index.find(1, |_| true), None);
        for slot in 0..1_000 {
            index.insert(hash(slot), slot, hash);
        }
        for slot in 0..1_000 {
            assert_eq!(index.find(hash(slot), |found| found == slot), Some(slot));
        }
        assert_eq!(index.find(hash(7), |_| false), None);
    }

    #[test]
    fn what_is_removed_is_gone_and_the_rest_is_found_in_less_room() {
        let hash = |slot: u32| u64::from(slot % 100).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = SlotIndex::default();
        for slot in 0..1_000 {
            index.insert(hash(slot), slot, hash);
        }
        for slot in (0..1_000).filter(|slot| slot % 7 != 0) {
            index.remove(hash(slot), slot, hash);
            index.shrink(hash);
            assert_eq!(index.find(hash(slot), |found| found == slot), None);
        }
        for slot in (0..1_000).step_by(7) {
            assert_eq!(index.find(hash(slot), |found| found == slot), Some(slot));
        }
        assert!(index.is_fit(143));
        index.moved(hash(7), 7, 2_000);
        assert_eq!(index.find(hash(7), |found| found == 2_000), Some(2_000));
    }
}
