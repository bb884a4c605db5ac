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
            let larger = (self.words.len() * 3 / 2).max(FIRST_WORDS);
            let old = std::mem::replace(&mut self.words, vec![0; larger].into());
            for word in old.into_iter().filter(|word| *word != 0) {
                let slot = (word & SLOT_MASK) - 1;
                self.place(hash_of(slot), slot);
            }
        }
        self.used += 1;
        self.place(hash, slot);
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
}
