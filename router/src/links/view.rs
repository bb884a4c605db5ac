//! What a node says about its links.

use std::time::Duration;

/// The links to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkView {
    /// Whether calls can be sent to it.
    pub up: bool,
    /// Of the last beat that was answered.
    pub round_trip: Option<Duration>,
    /// Calls to groups that lasted, so that the peer said which of its devices have them; since the links were made.
    pub picked: u64,
}
