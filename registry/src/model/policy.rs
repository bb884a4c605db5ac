//! The rules for records: who may attach, and how long a record stays that nobody uses.

use std::time::Duration;

use crate::limits::RECORD_TTL;

/// Which devices may attach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RegistrationMode {
    /// Any; the first attach makes the record.
    #[default]
    Open,
    /// Those that have a record, whoever made it. Nothing expires meanwhile: its device could not come back.
    Known,
}

/// The rules for records, the same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Which devices may attach.
    pub registration: RegistrationMode,
    /// How long a record that its device made by itself stays without a session; whole milliseconds.
    pub record_ttl: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { registration: RegistrationMode::default(), record_ttl: RECORD_TTL }
    }
}
