//! What a device is and offers, in the one canonical form that is replicated and shared between rows.

use compact_str::CompactString;

/// What a device is and offers. Lists are sorted and free of duplicates, so that equal profiles are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    /// The groups it belongs to.
    pub groups: Vec<CompactString>,
    /// Its labels, sorted by key.
    pub labels: Vec<(CompactString, CompactString)>,
    /// The actions it offers.
    pub actions: Vec<CompactString>,
    /// How many calls it takes at once; at least 1.
    pub capacity: u32,
}

impl Profile {
    /// The canonical form of these parts: sorted, without duplicates (the last of equal label keys stays), capacity ≥ 1.
    pub fn new<S: Into<CompactString>>(
        groups: impl IntoIterator<Item = S>,
        labels: impl IntoIterator<Item = (S, S)>,
        actions: impl IntoIterator<Item = S>,
        capacity: u32,
    ) -> Self {
        let sorted = |items: &mut Vec<CompactString>| {
            items.sort_unstable();
            items.dedup();
        };
        let mut groups: Vec<CompactString> = groups.into_iter().map(Into::into).collect();
        sorted(&mut groups);
        let mut actions: Vec<CompactString> = actions.into_iter().map(Into::into).collect();
        sorted(&mut actions);
        let labels: std::collections::BTreeMap<CompactString, CompactString> =
            labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { groups, labels: labels.into_iter().collect(), actions, capacity: capacity.max(1) }
    }

    /// Whether the device offers this action.
    pub fn offers(&self, action: &str) -> bool {
        self.actions.binary_search_by(|probe| probe.as_str().cmp(action)).is_ok()
    }

    /// Whether the device belongs to this group.
    pub fn belongs_to(&self, group: &str) -> bool {
        self.groups.binary_search_by(|probe| probe.as_str().cmp(group)).is_ok()
    }

    /// Whether the device carries all of these labels.
    pub fn carries<'a>(&self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> bool {
        labels.into_iter().all(|(key, value)| {
            self.labels
                .binary_search_by(|(probe, _)| probe.as_str().cmp(key))
                .is_ok_and(|at| self.labels[at].1 == value)
        })
    }

    /// About how many bytes this takes in the log; never much less.
    pub fn encoded_bytes(&self) -> usize {
        let names = self.groups.iter().chain(&self.actions).map(|name| name.len() + 2);
        let labels = self.labels.iter().map(|(key, value)| key.len() + value.len() + 6);
        8 + names.chain(labels).sum::<usize>()
    }
}
