//! What a connection asks of the node, without knowing the registry's type.

use std::sync::{Arc, atomic::AtomicU64};

use rollcall_proto::device::{CloseCode, Welcome};
use rollcall_registry::model::profile::Profile;

use super::{connection::Connection, live::LiveDevice, profile::AttachRequest, slot::Successor};
use crate::{
    config::RouterConfig, core::token::CallToken, delivery::Replayed, measure::Vitals, metrics::Metrics,
};

/// Work for the node that a frame has caused.
pub(crate) enum Request {
    /// Register a device on a slot.
    Open {
        /// The slot.
        slot: u32,
        /// Names this attach among those of the connection.
        opening: u64,
        /// The device.
        attach: AttachRequest,
    },
    /// Replace the profile of a session.
    Update {
        /// The session.
        live: Arc<LiveDevice>,
        /// Echoed to the agent.
        update_number: u64,
        /// The new profile.
        profile: Arc<Profile>,
    },
    /// A session has lost its connection: no new calls reach it until its device comes back to it.
    Suspended {
        /// The session.
        live: Arc<LiveDevice>,
        /// Why.
        code: CloseCode,
    },
    /// Pass an answer on to whoever waits for it.
    Replay(Box<Replayed>),
    /// Ask the session that took over which of these calls its device never got.
    Ask {
        /// The session that has them.
        live: Arc<LiveDevice>,
        /// The one that took over.
        successor: Successor,
        /// The calls.
        tokens: Vec<CallToken>,
    },
    /// A session is over on its connection: take it out of the table, and out of the registry if that still has it.
    Closed {
        /// The session.
        live: Arc<LiveDevice>,
        /// Why.
        code: CloseCode,
    },
}

/// The node, as a connection sees it.
pub(crate) trait Host: Send + Sync {
    /// The answer to a Hello.
    fn welcome(&self) -> Welcome;
    /// Does some work; must not block.
    fn request(&self, connection: &Arc<Connection>, request: Request);
    /// The connection is gone.
    fn forget(&self, connection: &Arc<Connection>);
}

/// What all connections of a node share.
pub(crate) struct Shared {
    /// The settings.
    pub(crate) config: RouterConfig,
    /// The metrics.
    pub(crate) metrics: Metrics,
    /// Calls on this node's devices, in any phase.
    pub(crate) device_calls: AtomicU64,
    /// How the node is doing.
    pub(crate) vitals: Vitals,
}
