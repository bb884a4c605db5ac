//! What a node decides about its router at its start.

use std::time::Duration;

use rollcall_transport::Connector;

use crate::limits;

/// The router's settings.
#[derive(Debug, Clone)]
pub struct RouterConfig {
    /// This node's name, for devices and replies.
    pub node_name: String,
    /// How often devices are pinged; two intervals of silence drop a connection.
    pub heartbeat_interval: Duration,
    /// How long calls wait for a device whose connection was lost, and how long it may come back to its session. See
    /// [`RouterConfig::least_resume_window`].
    pub resume_window: Duration,
    /// The largest payload of a call or reply, in bytes.
    pub max_payload_bytes: usize,
    /// Calls that may wait for room on one device.
    pub device_queue: usize,
    /// Calls in flight that enter through this node.
    pub calls_in_flight: usize,
    /// Attaches that are admitted per second; the others are told when to come again.
    pub connects_per_second: u32,
    /// Connections to each peer.
    pub links_per_peer: usize,
    /// Whom a node serves that has lost touch with its cluster.
    pub isolation: Isolation,
    /// How peers are dialled.
    pub connector: Connector,
}

/// Whom a node serves that has lost touch with its cluster: without its lease, its devices may be elsewhere by now. It
/// takes no new device in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Nobody.
    Fence,
    /// Callers of its own, of devices that it has just heard.
    #[default]
    ServeLocal,
    /// Callers of other nodes as well. That no device answers for a session that it has left is then up to the device.
    ServeAll,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            heartbeat_interval: limits::HEARTBEAT_INTERVAL,
            resume_window: Self::default_resume_window(limits::HEARTBEAT_INTERVAL),
            max_payload_bytes: limits::PAYLOAD_BYTES,
            device_queue: limits::DEVICE_QUEUE,
            calls_in_flight: limits::CALLS_IN_FLIGHT,
            connects_per_second: limits::CONNECTS_PER_SECOND,
            links_per_peer: limits::LINKS_PER_PEER,
            isolation: Isolation::default(),
            connector: Connector::default(),
        }
    }
}

impl RouterConfig {
    /// A device was just heard if it was silent for no longer: a heartbeat, and half of one for its way.
    pub fn heard_within(&self) -> Duration {
        self.heartbeat_interval * 3 / 2
    }

    /// The shortest window that a device can use: it may take two heartbeats to notice its loss, draws its first pause
    /// at random, and needs a moment for its connection.
    pub fn least_resume_window(heartbeat_interval: Duration) -> Duration {
        heartbeat_interval * 2 + limits::RECONNECT_JITTER + limits::RECONNECT_PATIENCE
    }

    /// The window where nobody says otherwise.
    pub fn default_resume_window(heartbeat_interval: Duration) -> Duration {
        limits::RESUME_WINDOW.max(Self::least_resume_window(heartbeat_interval))
    }
}
