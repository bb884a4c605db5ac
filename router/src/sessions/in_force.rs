//! Keeps what this node uses of its sessions equal to their rows: an administrator may assign groups and labels at any time.

use std::sync::Arc;

use rollcall_registry::{
    Registrar,
    model::{
        ids::{DeviceKey, Epoch},
        profile::Profile,
    },
};

use super::device_sessions::DeviceSessions;

impl<R: Registrar> DeviceSessions<R> {
    /// What the device is and offers by its row, if that still has this session.
    pub(super) fn in_force(&self, key: &DeviceKey, epoch: Epoch) -> Option<Arc<Profile>> {
        let device = self.registry.routes().device(key)?;
        device.session.is_some_and(|session| session.epoch == epoch).then_some(device.profile)
    }

    /// Brings a session into line with its row. Whoever changed either of them calls this afterwards, so that the last
    /// one finds them equal.
    pub(super) fn bring_into_force(&self, epoch: Epoch) {
        while let Some(live) = self.table.get(epoch) {
            let Some(profile) = self.in_force(&live.key, epoch).filter(|profile| *profile != live.profile)
            else {
                return;
            };
            let renewed = Arc::new(live.with(profile));
            if !live.connection.reassigned(Arc::clone(&renewed)) {
                return;
            }
            self.table.insert(&renewed);
            self.arrivals.send_modify(|arrivals| *arrivals += 1);
        }
    }
}
