//! What a device is and offers, in the one canonical form that is replicated and shared between rows.

use std::collections::BTreeMap;

use compact_str::CompactString;

/// Sorted, without duplicates.
pub fn canonical_names<S: Into<CompactString>>(names: impl IntoIterator<Item = S>) -> Vec<CompactString> {
    let mut names: Vec<CompactString> = names.into_iter().map(Into::into).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Sorted by key; the last of equal keys stays.
pub fn canonical_labels<S: Into<CompactString>>(
    labels: impl IntoIterator<Item = (S, S)>,
) -> Vec<(CompactString, CompactString)> {
    let labels: BTreeMap<CompactString, CompactString> =
        labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    labels.into_iter().collect()
}

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
        Self {
            groups: canonical_names(groups),
            labels: canonical_labels(labels),
            actions: canonical_names(actions),
            capacity: capacity.max(1),
        }
    }

    /// The same of parts that most likely are in that form already.
    pub(crate) fn canonical(
        groups: Vec<CompactString>,
        labels: Vec<(CompactString, CompactString)>,
        actions: Vec<CompactString>,
        capacity: u32,
    ) -> Self {
        let is_canonical = rises(&groups) && rises(&actions) && labels.is_sorted_by(|a, b| a.0 < b.0);
        if !is_canonical {
            return Self::new(groups, labels, actions, capacity);
        }
        Self { groups, labels, actions, capacity: capacity.max(1) }
    }

    /// What is known of a device that has never attached: nothing.
    pub fn unsaid() -> Self {
        Self { capacity: 1, ..Self::default() }
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

fn rises(names: &[CompactString]) -> bool {
    names.is_sorted_by(|a, b| a < b)
}
