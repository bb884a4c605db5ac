//! A device's record beyond what the device says: who made it, and what an administrator assigned.

use std::{collections::BTreeMap, sync::Arc};

use compact_str::CompactString;

use super::{
    ids::{Etag, UnixMillis},
    profile::Profile,
};

/// What an administrator says of a device; wins over what the device says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assigned {
    /// Its groups, in place of its own; sorted, without duplicates. Empty: its own.
    pub groups: Vec<CompactString>,
    /// Labels that win over its own of the same key; sorted by key.
    pub labels: Vec<(CompactString, CompactString)>,
    /// Whether it may attach and be called.
    pub enabled: bool,
}

impl Default for Assigned {
    fn default() -> Self {
        Self { groups: Vec::new(), labels: Vec::new(), enabled: true }
    }
}

impl Assigned {
    /// What the device is and offers once this is laid over its own word.
    pub fn over(&self, own: &Arc<Profile>) -> Arc<Profile> {
        if self.groups.is_empty() && self.labels.is_empty() {
            return Arc::clone(own);
        }
        let groups = if self.groups.is_empty() { own.groups.clone() } else { self.groups.clone() };
        let labels: BTreeMap<_, _> = own.labels.iter().chain(&self.labels).cloned().collect();
        let labels = labels.into_iter().collect();
        Arc::new(Profile { groups, labels, actions: own.actions.clone(), capacity: own.capacity })
    }
}

/// Who answers for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The device, which made it by its attach. The record goes when it was not used for long.
    SelfMade {
        /// Since when it has had no session. 0: it has one, or it is not known.
        away_since: UnixMillis,
    },
    /// An administrator, who made or changed it. The record stays until it is deleted.
    Registered {
        /// Changes with each change by an administrator.
        etag: Etag,
        /// What is assigned.
        assigned: Arc<Assigned>,
    },
}

impl Standing {
    /// The etag by which an administrator names this state of the record.
    pub fn etag(&self) -> Etag {
        match self {
            Self::SelfMade { .. } => Etag(0),
            Self::Registered { etag, .. } => *etag,
        }
    }

    /// The same, with the device away since then; a registered one is not timed.
    pub(crate) fn away_since(self, at: UnixMillis) -> Self {
        match self {
            Self::SelfMade { .. } => Self::SelfMade { away_since: at },
            Self::Registered { .. } => self,
        }
    }
}
