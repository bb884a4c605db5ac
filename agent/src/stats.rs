//! What a device's connection has been through, in numbers that an owner can show or count.

use std::time::Duration;

/// A device's connection since the agent's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// How often it was attached.
    pub attached: u64,
    /// How often a former session went on, calls in flight included, without a new one.
    pub resumed: u64,
    /// How often its connection was lost.
    pub lost: u64,
    /// Results that were sent again because the first time may have been in vain.
    pub replayed_results: u64,
    /// Results of all devices of its connection that could not be sent and were given up for room.
    pub results_given_up: u64,
    /// How long it was without a connection the last time.
    pub last_away: Option<Duration>,
}
