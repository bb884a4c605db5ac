//! A device's row: one cache line, an id of up to 24 bytes included.

use std::sync::Arc;

use compact_str::CompactString;

use super::{cohort::Cohort, life::Life, view::SessionView};
use crate::model::{
    event::SessionRef,
    ids::{AttachNumber, Epoch, InstanceId},
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
    /// Namespace, profile, holder.
    pub(crate) cohort: Arc<Cohort>,
}

const _: () = assert!(size_of::<Option<Row>>() == 64);

impl Row {
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
