//! Epochs strictly rise per device, in the order of the log.

use std::collections::HashMap;

use super::{Violation, ensure};
use crate::model::{
    event::Event,
    ids::{DeviceKey, Epoch},
};

/// The newest epoch seen of each device, over all events so far.
#[derive(Debug, Clone, Default)]
pub struct EpochHistory {
    newest: HashMap<DeviceKey, Epoch>,
}

impl EpochHistory {
    /// Checks an entry's events, in the order of the log: each opened session is newer than all before it, and
    /// nothing happens to an epoch that was never opened.
    ///
    /// # Errors
    /// Names the device.
    pub fn observe(&mut self, events: &[Event]) -> Result<(), Violation> {
        events.iter().try_for_each(|event| self.observe_one(event))
    }

    fn observe_one(&mut self, event: &Event) -> Result<(), Violation> {
        match event {
            Event::Opened { device, session, replaced, .. } => {
                let before = self.newest.insert(device.clone(), session.epoch).unwrap_or_default();
                let epoch = session.epoch;
                ensure(epoch > before, || format!("{device}: epoch {epoch} after {before}"))?;
                ensure(replaced.is_none_or(|replaced| replaced.epoch == before), || {
                    format!("{device}: replaces {replaced:?}, the newest was {before}")
                })
            }
            Event::Closed { device, session, .. } | Event::Updated { device, session, .. } => {
                let newest = self.newest.get(device).copied();
                ensure(newest == Some(session.epoch), || {
                    format!("{device}: epoch {} changed, the newest is {newest:?}", session.epoch)
                })
            }
            // A record that is made anew has newer epochs all the same: they come from the log's index.
            Event::Created { .. } | Event::Changed { .. } | Event::Removed { .. } => Ok(()),
            Event::NodeUp { .. }
            | Event::NodeDown { .. }
            | Event::NodeAdmitted { .. }
            | Event::NodeRemoved { .. }
            | Event::LevelRaised { .. }
            | Event::BatchApplied(_) => Ok(()),
        }
    }
}
