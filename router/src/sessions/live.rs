//! A device that calls can be given to, as the dispatcher sees it.

use std::sync::Arc;

use compact_str::CompactString;
use rollcall_registry::model::{
    ids::{AttachNumber, DeviceKey, Epoch, Incarnation, InstanceId},
    profile::Profile,
};

use super::{connection::Connection, group_load::Counted, shown::Shown};
use crate::core::{pick::Load, returned::Returned};

/// A device's open session on this node.
#[derive(Clone)]
pub(crate) struct LiveDevice {
    /// Which device.
    pub(crate) key: DeviceKey,
    /// The session's epoch.
    pub(crate) epoch: Epoch,
    /// The agent process.
    pub(crate) instance: InstanceId,
    /// This node's incarnation when the session was opened.
    pub(crate) incarnation: Incarnation,
    /// Of the attach that opened it, or last went on with it.
    pub(crate) attach_number: AttachNumber,
    /// What the device says of itself.
    pub(crate) own: Arc<Profile>,
    /// What it said of its earlier calls, with a genuine resume token, when it attached.
    pub(crate) returned: Option<Arc<Returned>>,
    /// What the device is and offers, with what is assigned laid over its own word.
    pub(crate) profile: Arc<Profile>,
    /// The connection that carries it.
    pub(crate) connection: Arc<Connection>,
    /// Where it said it is when it came.
    pub(crate) site: Option<CompactString>,
    /// Whether it was away before: it is led back slowly.
    pub(crate) came_back: bool,
    /// Where on that connection.
    pub(crate) slot: u32,
    /// How busy it is, and what it takes.
    pub(crate) shown: Arc<Shown>,
    /// What it counts in the loads of its groups.
    pub(super) counted: Counted,
}

impl LiveDevice {
    /// The same session with another profile in force.
    pub(crate) fn with(&self, profile: Arc<Profile>) -> Self {
        Self { profile, ..self.clone() }
    }

    /// Whether it is a version of the same session: under another epoch, on another connection, with another profile.
    pub(crate) fn is_version_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shown, &other.shown)
    }

    /// Counts so many calls in the loads of its groups.
    pub(crate) fn count(&self, calls: u32) {
        self.counted.set(calls);
    }

    /// How busy it is, as far as one can tell without its lock.
    pub(crate) fn load(&self) -> Load {
        self.shown.load(self.profile.capacity)
    }
}
