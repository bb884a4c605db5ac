//! Feature levels: what the members of a cluster can read, and so what may be written while versions are mixed.

use std::fmt;

/// A set of forms and commands. A higher level has all of the lower ones, and more.
///
/// A cluster is at one level, which its log raises once every member can take part in a higher one, and which never falls. What
/// an older version could not read, or would drop unseen, is written from its level on and not before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureLevel(pub u32);

impl FeatureLevel {
    /// What every version reads; that of a new cluster, and of versions that say none. Batches are written change by change.
    pub const FIRST: Self = Self(0);
    /// Batches are written in columns.
    pub const PACKED_BATCHES: Self = Self(1);
    /// Groups have policies.
    pub const GROUP_POLICIES: Self = Self(1);
    /// Who may do what is stored.
    pub const ACCESS_RULES: Self = Self(2);
    /// The newest that this version can take part in.
    pub const NEWEST: Self = Self::ACCESS_RULES;
}

impl fmt::Display for FeatureLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
