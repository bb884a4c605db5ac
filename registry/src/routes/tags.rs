//! Finds a row's slot by the hash of its device.
//!
//! A table of open addressing whose rows lie elsewhere: here is one byte a slot, a tag of the hash. At a million rows a
//! look-up is bound by cache misses; the tags are small enough to be cached, and lead to the one row that is fetched.

/// Slots that are looked at together, in one comparison.
const GROUP: usize = 16;
/// The tag of a slot without a row.
const FREE: u8 = 0;

/// A tag for each slot.
#[derive(Debug, Default)]
pub(super) struct Tags {
    groups: Box<[[u8; GROUP]]>,
}

impl Tags {
    /// So many slots, down to a multiple of 16, all free.
    pub(super) fn free(slots: usize) -> Self {
        Self { groups: vec![[FREE; GROUP]; slots_in(slots) / GROUP].into() }
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.groups.len() * GROUP
    }

    /// The slot of this hash that `is_it` confirms.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(hash);
        for _ in 0..self.groups.len() {
            let group = self.groups.get(at)?;
            let mut equal = equal(group, tag(hash));
            while equal != 0 {
                let slot = slot(at, equal);
                if is_it(slot) {
                    return Some(slot);
                }
                equal &= equal - 1;
            }
            if self.has_room(at) {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// The first slot in the hash's home that [`Self::find`] would look at.
    pub(super) fn likely(&self, hash: u64) -> Option<u32> {
        let at = self.home(hash);
        let equal = equal(self.groups.get(at)?, tag(hash));
        (equal != 0).then(|| slot(at, equal))
    }

    /// Takes the first free slot on the way of this hash. `None`: there is none at all.
    pub(super) fn take(&mut self, hash: u64) -> Option<u32> {
        let mut at = self.home(hash);
        for _ in 0..self.groups.len() {
            let free = equal(self.groups.get(at)?, FREE);
            if free != 0 {
                let slot = slot(at, free);
                self.set(slot, tag(hash));
                return Some(slot);
            }
            at = self.after(at);
        }
        None
    }

    /// Frees a slot. Rows behind it may have been pushed past it, and a search for them must not end at the hole: those
    /// move up (Knuth 6.4, R). `hash_of` tells the hash of a slot's row; `moved` hears of each move, from and to.
    pub(super) fn free_slot(
        &mut self,
        mut hole: u32,
        hash_of: impl Fn(u32) -> u64,
        mut moved: impl FnMut(u32, u32),
    ) {
        let mut group = hole as usize / GROUP;
        // Where a group has room, no search goes on to the next one.
        let mut goes_on = !self.has_room(group);
        self.set(hole, FREE);
        let mut at = self.after(group);
        while goes_on {
            goes_on = !self.has_room(at);
            let reach = self.distance(group, at);
            let passed = |slot: &u32| self.distance(self.home(hash_of(*slot)), at) >= reach;
            let found = self.taken(at).find(passed);
            if let Some(from) = found {
                let tag = self.groups[at][from as usize % GROUP];
                self.set(hole, tag);
                self.set(from, FREE);
                moved(from, hole);
                (hole, group) = (from, at);
            }
            at = self.after(at);
            goes_on &= at != group;
        }
    }

    /// The slots of a group that have rows.
    fn taken(&self, group: usize) -> impl Iterator<Item = u32> + use<> {
        let tags = self.groups[group];
        (0..GROUP).filter(move |at| tags[*at] != FREE).map(move |at| (group * GROUP + at) as u32)
    }

    fn set(&mut self, slot: u32, tag: u8) {
        let slot = slot as usize;
        self.groups[slot / GROUP][slot % GROUP] = tag;
    }

    fn has_room(&self, group: usize) -> bool {
        equal(&self.groups[group], FREE) != 0
    }

    /// How many steps a search goes from one group to the other.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.groups.len() - from }
    }

    /// Where the search for a hash begins: its low bits, scaled to the table, which need not be a power of two.
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.groups.len() as u64) >> 32) as usize
    }

    fn after(&self, group: usize) -> usize {
        if group + 1 == self.groups.len() { 0 } else { group + 1 }
    }
}

/// How many slots a table has that there is so much room for.
pub(super) const fn slots_in(room: usize) -> usize {
    room / GROUP * GROUP
}

/// The highest bits: the lowest say the home, and those between the shard.
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(FREE + 1)
}

/// A bit for each tag that equals this one.
fn equal(group: &[u8; GROUP], tag: u8) -> u16 {
    (0..GROUP).fold(0, |bits, at| bits | (u16::from(group[at] == tag) << at))
}

/// The slot of the lowest bit.
fn slot(group: usize, bits: u16) -> u32 {
    (group * GROUP) as u32 + bits.trailing_zeros()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A table that knows the hash of each slot's row.
    struct Table {
        tags: Tags,
        hashes: HashMap<u32, u64>,
    }

    impl Table {
        fn insert(&mut self, hash: u64) {
            let slot = self.tags.take(hash).unwrap();
            assert_eq!(self.hashes.insert(slot, hash), None, "a slot is given once");
        }

        fn find(&self, hash: u64) -> Option<u32> {
            self.tags.find(hash, |slot| self.hashes.get(&slot) == Some(&hash))
        }

        fn remove(&mut self, hash: u64) {
            let hole = self.find(hash).unwrap();
            let mut moves = Vec::new();
            let hashes = self.hashes.clone();
            self.tags.free_slot(hole, |slot| hashes[&slot], |from, to| moves.push((from, to)));
            self.hashes.remove(&hole);
            for (from, to) in moves {
                let hash = self.hashes.remove(&from).unwrap();
                assert_eq!(self.hashes.insert(to, hash), None, "a row moves into a free slot");
            }
        }
    }

    /// Hashes that crowd in few groups, with few tags.
    fn hash(number: u64) -> u64 {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed & 0x0300_0000_0000_0000) | number << 33 | (mixed >> 40 & 0x3) << 30
    }

    #[test]
    fn what_is_put_in_is_found_and_what_is_not_is_not() {
        let mut table = Table { tags: Tags::free(256), hashes: HashMap::new() };
        assert_eq!(Tags::default().find(1, |_| true), None);
        (0..224).for_each(|number| table.insert(hash(number)));
        for number in 0..224 {
            assert!(table.find(hash(number)).is_some(), "{number}");
        }
        assert_eq!(table.find(hash(1_000)), None);
    }

    #[test]
    fn what_is_removed_is_gone_and_all_others_are_found() {
        let mut table = Table { tags: Tags::free(256), hashes: HashMap::new() };
        (0..256).for_each(|number| table.insert(hash(number)));
        for number in 0..256 {
            let number = number * 37 % 256;
            table.remove(hash(number));
            assert_eq!(table.find(hash(number)), None);
            for other in table.hashes.values() {
                assert!(table.find(*other).is_some(), "after {number} was removed");
            }
            assert_eq!(
                table.tags.groups.iter().flatten().filter(|tag| **tag != FREE).count(),
                table.hashes.len()
            );
        }
    }
}
