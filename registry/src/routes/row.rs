//! A device's row: one cache line, an id of up to 24 bytes included.

use std::sync::Arc;

use compact_str::CompactString;

use super::{cohort::Cohort, life::Life, view::SessionView};
use crate::model::{
    event::SessionRef,
    ids::{AttachNumber, Epoch, Etag, InstanceId, UnixMillis},
    record::Standing,
};

/// A device's record and newest session.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Row {
    pub(crate) device: CompactString,
    /// Of the newest session, which may be closed. 0: none yet.
    pub(crate) epoch: Epoch,
    pub(crate) instance: InstanceId,
    pub(crate) attach_number: AttachNumber,
    /// The etag if the record is registered, else since when the device is away.
    mark: u64,
    /// Namespace, profile, what is assigned, holder.
    pub(crate) cohort: Arc<Cohort>,
}

const _: () = assert!(size_of::<Option<Row>>() == 64);

impl Row {
    /// A row that says this; what `standing` assigns is the cohort's.
    pub(super) fn new(
        device: CompactString,
        (epoch, instance, attach_number): (Epoch, InstanceId, AttachNumber),
        standing: &Standing,
        cohort: Arc<Cohort>,
    ) -> Self {
        let mark = match standing {
            Standing::SelfMade { away_since } => away_since.0,
            Standing::Registered { etag, .. } => etag.0,
        };
        Self { device, epoch, instance, attach_number, mark, cohort }
    }

    /// Whether an administrator answers for the record.
    pub(crate) fn is_registered(&self) -> bool {
        self.cohort.assigned.is_some()
    }

    /// Who answers for the record. For how long the device is away says [`Self::unused_since`].
    pub(crate) fn standing(&self) -> Standing {
        match &self.cohort.assigned {
            None => Standing::SelfMade { away_since: UnixMillis(self.mark) },
            Some(assigned) => Standing::Registered { etag: Etag(self.mark), assigned: Arc::clone(assigned) },
        }
    }

    /// Since when a record that its device made has had no valid session; 0: that is not known. `None`: it has one, or
    /// the record is registered.
    pub(crate) fn unused_since(&self) -> Option<UnixMillis> {
        match self.cohort.holder.as_deref() {
            _ if self.is_registered() => None,
            None => Some(UnixMillis(self.mark)),
            Some(life) if life.is_up() => None,
            Some(life) => Some(life.ended_at()),
        }
    }

    /// Whether this is that device's row.
    pub(crate) fn is_of(&self, namespace: &str, device: &str) -> bool {
        self.device == device && self.cohort.namespace == namespace
    }

    /// The session, if it is not closed; its holder may be down.
    pub(crate) fn open_session(&self) -> Option<SessionRef> {
        self.cohort.holder.as_deref().map(|life| SessionRef {
            node: life.node,
            incarnation: life.incarnation,
            epoch: self.epoch,
            instance: self.instance,
        })
    }

    /// The session, if its holder is up.
    pub(crate) fn valid_session(&self) -> Option<SessionView> {
        self.cohort.valid_holder().map(|life| self.session_of(life))
    }

    fn session_of(&self, life: &Life) -> SessionView {
        SessionView {
            node: life.node,
            incarnation: life.incarnation,
            epoch: self.epoch,
            instance: self.instance,
            attach_number: self.attach_number,
        }
    }
}
