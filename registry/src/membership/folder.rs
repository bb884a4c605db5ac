//! Who this node is: the identity in its data folder, and the only ways in which it changes.

use parking_lot::Mutex;
use rollcall_proto::storage;

use crate::{
    codec,
    model::{
        command::{FoundCluster, FoundingMember},
        ids::{BootCounter, ClusterId, NodeId, StorageId},
    },
    raft::Seat,
    storage::{DataDir, StorageError, identity},
};

/// The format of the identity file that this version writes.
const FORMAT: u32 = 1;

/// A proposal to found a cluster, consented to by this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founding {
    /// The name of the node that founds it.
    pub candidate: String,
    /// The first command of the cluster.
    pub cluster: FoundCluster,
}

impl Founding {
    /// The place that this founding gives to the node of this name.
    pub fn seat_of(&self, name: &str) -> Option<Seat> {
        let member = self.cluster.members.iter().find(|member| member.name == name)?;
        Some(Seat { cluster: self.cluster.cluster_id, node: member.node })
    }
}

/// The data folder's identity. Each change is on disk before its method returns.
pub struct Folder {
    dir: DataDir,
    name: String,
    identity: Mutex<storage::NodeIdentity>,
}

impl Folder {
    /// Opens the folder's identity, or makes one, and counts this start.
    ///
    /// # Errors
    /// A damaged or foreign identity, a folder of another name, I/O.
    pub fn open(dir: DataDir, name: &str) -> Result<Self, StorageError> {
        let mut identity = identity::load(&dir)?.unwrap_or_else(|| storage::NodeIdentity {
            format: FORMAT,
            name: name.to_owned(),
            storage_id: StorageId(crate::chance::random()).to_bytes().to_vec().into(),
            ..Default::default()
        });
        identity.boot_counter += 1;
        identity::save(&dir, &identity)?;
        Ok(Self { dir, name: identity.name.clone(), identity: Mutex::new(identity) })
    }

    /// The name that the folder was made with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The data folder.
    pub fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// The folder's id.
    pub fn storage(&self) -> StorageId {
        StorageId::from_bytes(&self.identity.lock().storage_id).unwrap_or_default()
    }

    /// How often a process was started on this folder, this one included.
    pub fn boot(&self) -> BootCounter {
        BootCounter(self.identity.lock().boot_counter)
    }

    /// The place in a cluster: as a member, or as a founding member whose cluster may not be founded yet.
    pub fn seat(&self) -> Option<Seat> {
        let identity = self.identity.lock();
        let member = ClusterId::from_bytes(&identity.cluster_id).filter(|_| identity.node_id != 0);
        match member {
            Some(cluster) => Some(Seat { cluster, node: NodeId(identity.node_id) }),
            None => founding(&identity)?.seat_of(&identity.name),
        }
    }

    /// The founding that this node has consented to, until its cluster is founded.
    pub fn founding(&self) -> Option<Founding> {
        founding(&self.identity.lock())
    }

    /// Consents to a founding, durably; `false`: this node has consented to another one or is a member already.
    ///
    /// # Errors
    /// I/O.
    pub fn consent(&self, proposal: &Founding) -> Result<bool, StorageError> {
        let mut identity = self.identity.lock();
        if !identity.cluster_id.is_empty() {
            return Ok(false);
        }
        if let Some(earlier) = founding(&identity) {
            return Ok(earlier == *proposal);
        }
        self.change(&mut identity, |identity| identity.founding = Some(founding_to_proto(proposal)))?;
        Ok(true)
    }

    /// Records that this node is a member.
    ///
    /// # Errors
    /// I/O.
    pub fn joined(&self, seat: Seat) -> Result<(), StorageError> {
        let mut identity = self.identity.lock();
        if identity.cluster_id == seat.cluster.to_bytes().as_slice() && identity.founding.is_none() {
            return Ok(());
        }
        self.change(&mut identity, |identity| {
            identity.cluster_id = seat.cluster.to_bytes().to_vec().into();
            identity.node_id = seat.node.0;
            identity.founding = None;
        })
    }

    /// Whether this node was removed from its cluster.
    pub fn is_removed(&self) -> bool {
        self.identity.lock().removed
    }

    /// Records that this node was removed from its cluster.
    ///
    /// # Errors
    /// I/O.
    pub fn mark_removed(&self) -> Result<(), StorageError> {
        let mut identity = self.identity.lock();
        self.change(&mut identity, |identity| identity.removed = true)
    }

    /// Records that this node has left its cluster by itself: its data is of no use to anybody.
    ///
    /// # Errors
    /// I/O.
    pub fn mark_left(&self) -> Result<(), StorageError> {
        let mut identity = self.identity.lock();
        self.change(&mut identity, |identity| (identity.removed, identity.left) = (true, true))
    }

    fn change(
        &self,
        identity: &mut storage::NodeIdentity,
        change: impl FnOnce(&mut storage::NodeIdentity),
    ) -> Result<(), StorageError> {
        let mut next = identity.clone();
        change(&mut next);
        identity::save(&self.dir, &next)?;
        *identity = next;
        Ok(())
    }
}

fn founding(identity: &storage::NodeIdentity) -> Option<Founding> {
    founding_from_proto(identity.founding.clone()?)
}

/// A founding as it is sent and stored.
pub fn founding_to_proto(founding: &Founding) -> storage::Founding {
    let members = founding.cluster.members.iter().map(|member| storage::FoundingMember {
        node_id: member.node.0,
        name: member.name.to_string(),
        storage_id: member.storage.to_bytes().to_vec().into(),
        addresses: Some(codec::addresses_to_proto(&member.addresses)),
    });
    storage::Founding {
        cluster_id: founding.cluster.cluster_id.to_bytes().to_vec().into(),
        candidate: founding.candidate.clone(),
        members: members.collect(),
        token_key: founding.cluster.token_key.to_vec().into(),
        registration: codec::registration_to_proto(founding.cluster.registration).into(),
    }
}

/// The reverse of [`founding_to_proto`]; `None`: malformed.
pub fn founding_from_proto(founding: storage::Founding) -> Option<Founding> {
    let members = founding.members.into_iter().map(|member| {
        Some(FoundingMember {
            node: NodeId(member.node_id),
            name: member.name.into(),
            storage: StorageId::from_bytes(&member.storage_id)?,
            addresses: codec::addresses_from_proto(member.addresses),
        })
    });
    Some(Founding {
        candidate: founding.candidate,
        cluster: FoundCluster {
            cluster_id: ClusterId::from_bytes(&founding.cluster_id)?,
            members: members.collect::<Option<_>>()?,
            token_key: founding.token_key.as_ref().try_into().ok()?,
            epoch_base: 0,
            registration: codec::registration_from_proto(founding.registration).ok()?.unwrap_or_default(),
        },
    })
}
