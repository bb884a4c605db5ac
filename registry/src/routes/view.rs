//! What the read side hands out: small values that hold no lock.

use std::sync::Arc;

use compact_str::CompactString;

use crate::model::{
    command::{Addresses, LogFloor, Suffrage},
    event::SessionRef,
    feature_level::FeatureLevel,
    ids::{AttachNumber, BootCounter, DeviceKey, Epoch, Incarnation, InstanceId, NodeId, StorageId},
    profile::Profile,
    record::Standing,
};

/// A node, as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// Its id.
    pub id: NodeId,
    /// Its stable name.
    pub name: CompactString,
    /// Its data folder's id.
    pub storage: StorageId,
    /// Where it is reached.
    pub addresses: Addresses,
    /// The version it runs; empty: it never came up.
    pub version: CompactString,
    /// Its current or last incarnation; 0: it never came up.
    pub incarnation: Incarnation,
    /// Of its last `NodeUp`.
    pub boot: BootCounter,
    /// Whether the incarnation's sessions count.
    pub up: bool,
    /// Whether it has said, in this incarnation, that it is about to stop.
    pub draining: bool,
    /// The least that its disk must hold, as leaders noted it when its lives ended.
    pub floor: Option<LogFloor>,
    /// How it comes to vote.
    pub suffrage: Suffrage,
    /// The newest level that it can take part in, by what it said last.
    pub feature_level: FeatureLevel,
}

/// A device, as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceView {
    /// Which.
    pub key: DeviceKey,
    /// What it is and offers, by its own word and by what is assigned.
    pub profile: Arc<Profile>,
    /// Whether calls to it are allowed.
    pub enabled: bool,
    /// Its valid session: the holder is up in that incarnation.
    pub session: Option<SessionView>,
    /// Who answers for its record. Of one that the device made: since when it has had no valid session.
    pub standing: Standing,
}

/// A valid session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionView {
    /// The node that holds it.
    pub node: NodeId,
    /// That node's incarnation.
    pub incarnation: Incarnation,
    /// Its epoch.
    pub epoch: Epoch,
    /// The agent process.
    pub instance: InstanceId,
    /// The agent's own order of its attaches.
    pub attach_number: AttachNumber,
}

impl SessionView {
    /// What identifies it.
    pub fn reference(&self) -> SessionRef {
        let Self { node, incarnation, epoch, instance, .. } = *self;
        SessionRef { node, incarnation, epoch, instance }
    }
}

/// The way to a named device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Held by a node that is up.
    Held {
        /// The session.
        session: SessionView,
        /// What the device is and offers.
        profile: Arc<Profile>,
    },
    /// Known or not, it is not connected.
    NotConnected,
    /// An administrator disabled it.
    Disabled {
        /// What the device is and offers.
        profile: Arc<Profile>,
    },
}

/// Devices of a group on one node that match a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The node that holds them.
    pub node: NodeId,
    /// How many they are; at least 1.
    pub devices: u32,
    /// The calls that they take at once, together.
    pub capacity: u64,
}

/// A connected device of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub device: CompactString,
    /// Its session.
    pub session: SessionView,
    /// How many calls it takes at once.
    pub capacity: u32,
}

/// Whether a group can take a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupMatch {
    /// There are candidates.
    Found,
    /// No connected device of the group carries the labels.
    NoDevice,
    /// There are such devices; none offers the action.
    ActionUnknown,
}

/// Which devices to list.
#[derive(Debug, Clone, Default)]
pub struct DeviceFilter<'a> {
    /// Only of this group.
    pub group: Option<&'a str>,
    /// Only those that carry all of these.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Only those held by this node.
    pub node: Option<NodeId>,
    /// Only connected ones.
    pub connected_only: bool,
}

/// A group and its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its name.
    pub name: CompactString,
    /// Connected devices.
    pub connected: u64,
    /// The calls that they take at once, together.
    pub capacity: u64,
}

/// How much the registry holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Known devices.
    pub devices: u64,
    /// Valid sessions.
    pub sessions: u64,
}
