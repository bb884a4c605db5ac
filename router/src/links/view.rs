//! What a node says about its links.

use std::time::Duration;

/// The links to one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkView {
    /// Whether calls can be sent to it.
    pub up: bool,
    /// Of the last beat that was answered.
    pub round_trip: Option<Duration>,
}
