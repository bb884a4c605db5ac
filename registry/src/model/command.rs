//! What can be written to the replicated log. Time and ids enter through these, never through `apply`.

use std::{fmt, sync::Arc, time::Duration};

use compact_str::CompactString;

use super::{
    feature_level::FeatureLevel,
    ids::{
        AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Epoch, Etag, Incarnation, InstanceId,
        LogIndex, NodeId, Registration, StorageId, UnixMillis,
    },
    policy::{GroupPolicy, RegistrationMode},
    profile::Profile,
};

/// A change of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The first command of a cluster.
    FoundCluster(FoundCluster),
    /// Allocates a node's id.
    AdmitNode(AdmitNode),
    /// A node has started, or registers again after a lapse.
    NodeUp(NodeUp),
    /// A node's lease lapsed, or it left.
    NodeDown(NodeDown),
    /// A node is about to stop: no new work for it.
    NodeDraining(NodeDraining),
    /// Opens and closes of device sessions, gathered by one node.
    Batch(Batch),
    /// Removes a node for good.
    RemoveNode(RemoveNode),
    /// Says whether a node may be promoted without an operator.
    SetSuffrage(SetSuffrage),
    /// Makes or changes a device's record.
    PutDevice(PutDevice),
    /// Deletes a device's record.
    DeleteDevice(DeleteDevice),
    /// Changes the rules for records.
    SetPolicy(SetPolicy),
    /// Says what holds for calls to a group.
    SetGroupPolicy(SetGroupPolicy),
    /// Stores who may do what.
    SetAccessRules(SetAccessRules),
    /// Lets members write what only newer versions read.
    RaiseLevel(RaiseLevel),
    /// Removes records that nobody has used for long.
    RemoveExpired(RemoveExpired),
    /// Clears rows of lives that are over.
    Sweep(Sweep),
}

/// Where a node is reached: `host:port`, resolved at each dial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// By its peers.
    pub peer: String,
    /// By services.
    pub api: String,
    /// By devices. Empty: devices keep to their own list.
    pub device: String,
    /// For health and metrics.
    pub http: String,
}

/// The first command of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundCluster {
    /// The cluster's id.
    pub cluster_id: ClusterId,
    /// The founding members, in the order of their names; node ids rise from 1.
    pub members: Vec<FoundingMember>,
    /// Signs resume tokens.
    pub token_key: [u8; 32],
    /// Added to every epoch.
    pub epoch_base: u64,
    /// Which devices may attach at first.
    pub registration: RegistrationMode,
}

/// A founding member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundingMember {
    /// Its id.
    pub node: NodeId,
    /// Its stable name.
    pub name: CompactString,
    /// Its data folder's id.
    pub storage: StorageId,
    /// Where it is reached.
    pub addresses: Addresses,
}

/// Allocates a node's id; a name and storage that are known already keep theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmitNode {
    /// Its stable name.
    pub name: CompactString,
    /// Its data folder's id.
    pub storage: StorageId,
    /// Where it is reached.
    pub addresses: Addresses,
    /// The newest level that it can take part in.
    pub feature_level: FeatureLevel,
}

/// A node has started, or registers again after a lapse.
///
/// (boot counter, registration) orders a node's registrations: equal to the current one returns the same incarnation,
/// lower is refused, so that a delayed duplicate never invalidates sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUp {
    /// Which.
    pub node: NodeId,
    /// Its data folder's id.
    pub storage: StorageId,
    /// Of this start.
    pub boot: BootCounter,
    /// Of this registration.
    pub registration: Registration,
    /// Where it is reached.
    pub addresses: Addresses,
    /// The version it runs.
    pub version: CompactString,
    /// The proposer's clock: when the node's former life ended, if nobody has said so before.
    pub at: UnixMillis,
    /// The newest level that it can take part in.
    pub feature_level: FeatureLevel,
}

/// A node's sessions are no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDown {
    /// Which.
    pub node: NodeId,
    /// Only if this is still its incarnation.
    pub incarnation: Incarnation,
    /// Why.
    pub reason: NodeDownReason,
    /// The proposer's clock: since when the sessions' devices are away.
    pub at: UnixMillis,
    /// What the leader knew to be on its disk.
    pub floor: Option<LogFloor>,
}

/// A node is about to stop, and its devices are told to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDraining {
    /// Which.
    pub node: NodeId,
    /// Only if this is still its incarnation.
    pub incarnation: Incarnation,
    /// Only while these nodes are up in these lives and do not drain, so that no two of them leave at once. Empty: whatever
    /// the others do.
    pub provided: Vec<(NodeId, Incarnation)>,
}

/// The least that a node's disk must hold, because a leader counted on it. A disk that holds less was rolled back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogFloor {
    /// The term of its vote.
    pub term: u64,
    /// The last index of its log; committed, so that it is never truncated.
    pub index: LogIndex,
}

/// Removes a node for good: its sessions end, its id is never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveNode {
    /// Which.
    pub node: NodeId,
    /// The proposer's clock: since when the sessions' devices are away.
    pub at: UnixMillis,
}

/// Says whether a node may be promoted without an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetSuffrage {
    /// Which.
    pub node: NodeId,
    /// How.
    pub suffrage: Suffrage,
}

/// How a node comes to vote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Suffrage {
    /// The leader promotes it when a voter is missing.
    #[default]
    Automatic,
    /// An operator took its vote; only an operator gives it back.
    Withheld,
}

/// Why a node is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeDownReason {
    /// Its lease lapsed.
    LeaseLapsed,
    /// It left of its own will.
    Stopped,
}

/// Changes of device sessions, gathered by one node.
///
/// Applies once: the number must be the last of the incarnation plus one; a repeat of the last changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The node that gathered them, and that holds the sessions.
    pub node: NodeId,
    /// Its incarnation; a batch of a dead one is refused whole.
    pub incarnation: Incarnation,
    /// The order of the node's batches.
    pub number: BatchNumber,
    /// In order; at most [`crate::limits::BATCH_CHANGES`].
    pub changes: Vec<SessionChange>,
    /// The proposer's clock: since when devices whose session is closed are away.
    pub at: UnixMillis,
}

/// A change of one device's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionChange {
    /// The device.
    pub device: DeviceKey,
    /// What changes.
    pub kind: ChangeKind,
}

impl SessionChange {
    /// About how many bytes this takes in the log; never much less.
    pub fn encoded_bytes(&self) -> usize {
        let profile = match &self.kind {
            ChangeKind::Open(open) => open.profile.encoded_bytes() + open.remote_addr.len(),
            ChangeKind::Update(_, profile) => profile.encoded_bytes(),
            ChangeKind::Close(_) => 0,
        };
        64 + self.device.namespace.len() + self.device.device.len() + profile
    }
}

/// What changes about a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// A session is opened on the batch's node.
    Open(OpenSession),
    /// The session is closed, if it still has this epoch.
    Close(Epoch),
    /// The session's profile is replaced, if it still has this epoch.
    Update(Epoch, Arc<Profile>),
}

/// Opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// The agent process.
    pub instance: InstanceId,
    /// The device's own order of its attaches.
    pub attach_number: AttachNumber,
    /// What the device is and offers.
    pub profile: Arc<Profile>,
    /// Where the device connects from, for logs.
    pub remote_addr: CompactString,
    /// Only if the row has this epoch, or no session: set when a node announces its live streams again.
    pub only_if: Option<Epoch>,
}

/// Makes or changes a device's record, on an administrator's behalf.
///
/// A repeat changes nothing: the record has the new etag already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutDevice {
    /// Which.
    pub device: DeviceKey,
    /// What must be there.
    pub expect: Expect,
    /// The record's etag from now on: random, never 0.
    pub new_etag: Etag,
    /// Its groups in place of those that it says, sorted; empty: those that it says. `None`: as they are.
    pub groups: Option<Vec<CompactString>>,
    /// Labels that win over its own of the same key, sorted by key. `None`: as they are.
    pub labels: Option<Vec<(CompactString, CompactString)>>,
    /// Whether it may attach and be called. `None`: as it is.
    pub enabled: Option<bool>,
}

/// What must be there for a record to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No record.
    NoRecord,
    /// Any record.
    AnyRecord,
    /// A record of this etag.
    Etag(Etag),
}

/// Deletes a device's record; its session ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteDevice {
    /// Which.
    pub device: DeviceKey,
    /// Only if the record has this etag. `None`: whatever it has.
    pub etag: Option<Etag>,
}

/// Changes the rules for records; `None`: as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetPolicy {
    /// Which devices may attach.
    pub registration: Option<RegistrationMode>,
    /// How long a record that its device made by itself stays without a session; whole milliseconds, not zero.
    pub record_ttl: Option<Duration>,
}

/// Says what holds for calls to a group, in place of what was said before. A repeat says the same again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetGroupPolicy {
    /// The namespace of the group.
    pub namespace: CompactString,
    /// The group; it need not have devices.
    pub group: CompactString,
    /// What holds from now on.
    pub policy: GroupPolicy,
}

/// Stores who may do what, in place of what was stored before. A repeat changes nothing: it is stored under the new etag already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAccessRules {
    /// What must be stored.
    pub expect: Expect,
    /// The etag from now on: random, never 0.
    pub new_etag: Etag,
    /// The text of a file of `access`; empty: nothing is stored any more.
    pub text: Arc<str>,
}

/// Raises the cluster's feature level; it never falls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaiseLevel {
    /// To this one.
    pub level: FeatureLevel,
    /// Every member, each in the life in which it said that it can take part in the level.
    pub members: Vec<(NodeId, Incarnation)>,
}

/// Removes those of the named records that their devices made by themselves and that had no session since the cutoff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveExpired {
    /// Away since before then.
    pub cutoff: UnixMillis,
    /// The proposer's clock: the time from which a record counts that has none yet.
    pub at: UnixMillis,
    /// The records; at most [`crate::limits::CHORE_ROWS`].
    pub devices: Vec<DeviceKey>,
}

/// Closes those of the named sessions whose holder's life is over; nothing visible changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The sessions, each by its epoch; at most [`crate::limits::CHORE_ROWS`].
    pub rows: Vec<(DeviceKey, Epoch)>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FoundCluster(found) => write!(f, "found cluster {}", found.cluster_id),
            Self::AdmitNode(admit) => write!(f, "admit {}", admit.name),
            Self::NodeUp(up) => {
                write!(f, "node {} up (boot {}, registration {})", up.node, up.boot, up.registration)
            }
            Self::NodeDown(down) => write!(f, "node {} down (incarnation {})", down.node, down.incarnation),
            Self::NodeDraining(draining) => write!(f, "node {} draining", draining.node),
            Self::Batch(batch) => {
                write!(f, "batch {} of node {}, {} changes", batch.number, batch.node, batch.changes.len())
            }
            Self::RemoveNode(remove) => write!(f, "remove node {}", remove.node),
            Self::SetSuffrage(set) => write!(f, "suffrage of node {} {:?}", set.node, set.suffrage),
            Self::PutDevice(put) => write!(f, "record of {}", put.device),
            Self::DeleteDevice(delete) => write!(f, "no record of {}", delete.device),
            Self::SetPolicy(_) => f.write_str("policy"),
            Self::SetGroupPolicy(set) => write!(f, "policy of group {}/{}", set.namespace, set.group),
            Self::SetAccessRules(set) => write!(f, "who may do what, {} bytes", set.text.len()),
            Self::RaiseLevel(raise) => write!(f, "feature level {}", raise.level),
            Self::RemoveExpired(expired) => write!(f, "{} expired records", expired.devices.len()),
            Self::Sweep(sweep) => write!(f, "sweep of {} rows", sweep.rows.len()),
        }
    }
}
