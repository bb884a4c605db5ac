//! What apply tells this node's own parts, and watchers, about a change that took effect.

use std::sync::Arc;

use compact_str::CompactString;

use super::{
    feature_level::FeatureLevel,
    ids::{DeviceKey, Epoch, Incarnation, InstanceId, LogIndex, NodeId},
    profile::Profile,
    rejection::ChangeRejection,
};

/// A change that took effect, in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A device has a new session.
    Opened {
        /// The device.
        device: DeviceKey,
        /// The new session.
        session: SessionRef,
        /// What the device is and offers.
        profile: Arc<Profile>,
        /// The session that it replaces, even if its holder is down.
        replaced: Option<SessionRef>,
        /// Where the device comes from, if that session was another agent process's and its holder is up.
        rival_from: Option<CompactString>,
    },
    /// A session ended.
    Closed {
        /// The device.
        device: DeviceKey,
        /// The session that ended.
        session: SessionRef,
        /// What the device was and offered.
        profile: Arc<Profile>,
        /// Why.
        cause: CloseCause,
    },
    /// A session's profile changed, by the device's word or by an administrator's.
    Updated {
        /// The device.
        device: DeviceKey,
        /// The session.
        session: SessionRef,
        /// The new profile.
        profile: Arc<Profile>,
    },
    /// An administrator made a device's record.
    Created {
        /// The device.
        device: DeviceKey,
        /// What is known of the device.
        profile: Arc<Profile>,
    },
    /// An administrator changed the record of a device that has no session now; one that has is [`Self::Updated`].
    Changed {
        /// The device.
        device: DeviceKey,
        /// What the device is and offers.
        profile: Arc<Profile>,
    },
    /// A device's record is gone, deleted or expired; its session has ended before.
    Removed {
        /// The device.
        device: DeviceKey,
        /// What it was.
        profile: Arc<Profile>,
    },
    /// A node started, or registered again. If it was up until then, [`Self::NodeDown`] comes before.
    NodeUp {
        /// The node.
        node: NodeId,
        /// Its new incarnation.
        incarnation: Incarnation,
    },
    /// A node's sessions are void.
    NodeDown {
        /// The node.
        node: NodeId,
        /// The incarnation that ended.
        incarnation: Incarnation,
        /// How many sessions ended with it. Watchers see each, as [`Self::Closed`].
        sessions: u64,
    },
    /// A node was admitted.
    NodeAdmitted {
        /// The node.
        node: NodeId,
    },
    /// A node was removed for good.
    NodeRemoved {
        /// The node.
        node: NodeId,
    },
    /// The cluster's feature level has risen.
    LevelRaised {
        /// To this one.
        level: FeatureLevel,
    },
    /// A batch was applied.
    BatchApplied(BatchOutcome),
}

impl Event {
    /// The one device that it is about.
    pub fn device(&self) -> Option<&DeviceKey> {
        match self {
            Self::Opened { device, .. }
            | Self::Closed { device, .. }
            | Self::Updated { device, .. }
            | Self::Created { device, .. }
            | Self::Changed { device, .. }
            | Self::Removed { device, .. } => Some(device),
            Self::NodeUp { .. }
            | Self::NodeDown { .. }
            | Self::NodeAdmitted { .. }
            | Self::NodeRemoved { .. }
            | Self::LevelRaised { .. }
            | Self::BatchApplied(_) => None,
        }
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// Its holder or an operator closed it.
    Asked,
    /// An administrator disabled the device.
    Disabled,
    /// An administrator deleted the device's record.
    Deleted,
    /// Its holder's life ended. Only watchers see it: the log has one [`Event::NodeDown`] for all of them.
    NodeLost,
}

/// A session, by what identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionRef {
    /// The node that holds it.
    pub node: NodeId,
    /// That node's incarnation.
    pub incarnation: Incarnation,
    /// Its epoch.
    pub epoch: Epoch,
    /// The agent process.
    pub instance: InstanceId,
}

/// What became of a node's batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOutcome {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The batch's number.
    pub number: super::ids::BatchNumber,
    /// The entry that applied it: with [`Epoch`] and a position it gives each opened session's epoch.
    pub index: LogIndex,
    /// The changes that were refused, by position, rising. All others took effect.
    pub refused: Vec<(u32, ChangeRejection)>,
}
