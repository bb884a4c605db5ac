//! Announces this node's streams to the registry again after its lease has lapsed: those that answer, each on condition
//! that nobody else has taken the device over. One task.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures::StreamExt;
use rollcall_proto::device::CloseCode;
use rollcall_registry::{
    ChangeError, Opened, Registrar,
    model::{command::OpenSession, ids::Incarnation, rejection::ChangeRejection},
};
use tokio::{sync::Notify, time::Instant};

use super::{
    device_sessions::DeviceSessions,
    lingering::Lingers,
    live::LiveDevice,
    opening::Stream,
    state::{Supersession, Whereabouts},
};
use crate::limits;

/// Runs until the sessions are dropped. `lapsed` is told of every change of a node.
pub(crate) async fn announce<R: Registrar>(sessions: Weak<DeviceSessions<R>>, lapsed: Arc<Notify>) {
    // Since when this node is registered in the incarnation for which it asks its devices.
    let mut since = (Incarnation(0), Instant::now());
    loop {
        lapsed.notified().await;
        loop {
            let Some(sessions) = sessions.upgrade() else { return };
            let incarnation = sessions.registry.incarnation();
            let left = sessions.left_behind(incarnation);
            if left.is_empty() {
                break;
            }
            if since.0 != incarnation {
                since = (incarnation, Instant::now());
                tracing::info!(sessions = left.len(), %incarnation, "asks devices whether they are still here");
                left.iter().for_each(|live| live.connection.probe());
            }
            sessions.announce_answered(&left, since.1.elapsed()).await;
            drop(sessions);
            tokio::time::sleep(limits::ANNOUNCE_AGAIN).await;
        }
    }
}

impl<R: Registrar> DeviceSessions<R> {
    /// Sessions of this node's earlier lives, if it lives.
    fn left_behind(&self, incarnation: Incarnation) -> Vec<Arc<LiveDevice>> {
        if self.is_draining() {
            return Vec::new();
        }
        self.table.all().into_iter().filter(|live| live.incarnation < incarnation).collect()
    }

    /// Announces those of the sessions whose devices were heard within this time. Of the silent ones nobody knows
    /// where they are; they answer yet, or are dropped for their silence.
    async fn announce_answered(&self, left: &[Arc<LiveDevice>], within: Duration) {
        let answered = left.iter().filter(|live| live.connection.silence() < within);
        let announcements = futures::stream::iter(answered);
        announcements.for_each_concurrent(limits::ANNOUNCED_AT_ONCE, |live| self.announce_one(live)).await;
    }

    async fn announce_one(&self, live: &Arc<LiveDevice>) {
        let open = OpenSession {
            instance: live.instance,
            attach_number: live.attach_number,
            profile: Arc::clone(&live.own),
            remote_addr: live.connection.remote_addr.clone(),
            only_if: Some(live.epoch),
        };
        // From before the commit: a session that is taken for older than it is, is announced once more.
        let incarnation = self.registry.incarnation();
        self.await_opening(&live.key);
        self.announcing.lock().insert(live.epoch);
        let announced =
            tokio::time::timeout(limits::OPEN_PATIENCE, self.registry.open(live.key.clone(), open)).await;
        match announced {
            Ok(Ok(opened)) => self.announced(live, incarnation, opened),
            Ok(Err(error)) => self.not_announced(live, &error),
            // Tried again; what this one may yet open is closed as nobody's.
            Err(_elapsed) => {}
        }
        self.announcing.lock().remove(&live.epoch);
        self.no_longer_awaited(&live.key);
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    /// The stream goes on under a new epoch, which the agent is told.
    fn announced(&self, former: &LiveDevice, incarnation: Incarnation, opened: Opened) {
        let profile = self.in_force(&former.key, opened.epoch);
        let live = Arc::new(LiveDevice {
            epoch: opened.epoch,
            incarnation,
            profile: profile.unwrap_or_else(|| Arc::clone(&former.profile)),
            ..former.clone()
        });
        let attached = self.attached(&live, Stream::GoesOn);
        let goes_on = live.connection.renewed(former.epoch, Arc::clone(&live), attached);
        if goes_on {
            self.table.remove(former.epoch);
            self.table.insert(&live);
        }
        // Looked at afterwards: it may have ended, or lost its connection, before the table had it.
        match live.connection.whereabouts(&live) {
            Whereabouts::Slot if goes_on => {
                tracing::debug!(device = %live.key, epoch = %live.epoch, "device announced again");
                self.compare(&live);
            }
            Whereabouts::Absent if goes_on => {
                self.lingering.insert(Arc::clone(&live), Lingers::Suspended);
                self.table.remove(live.epoch);
                self.site_loses(&live, CloseCode::Unspecified);
            }
            Whereabouts::Slot | Whereabouts::Absent | Whereabouts::Gone => {
                self.table.remove(live.epoch);
                self.registry.close(live.key.clone(), live.epoch);
            }
        }
    }

    fn not_announced(&self, live: &LiveDevice, error: &ChangeError) {
        match error {
            ChangeError::Rejected(ChangeRejection::OlderAttach { newer }) => {
                let row = self.registry.routes().device(&live.key).and_then(|device| device.session);
                let node = row.map_or(self.registry.node(), |session| session.node);
                self.superseded(live.epoch, Supersession { winner: *newer, node, same_instance: true });
            }
            ChangeError::Rejected(ChangeRejection::EpochMismatch { .. }) => self.compare(live),
            ChangeError::Rejected(rejection) => {
                self.ended(live.epoch, CloseCode::Forbidden, &rejection.to_string());
            }
            ChangeError::TooLarge { .. } => self.ended(live.epoch, CloseCode::Invalid, &error.to_string()),
            ChangeError::NoLeader { .. }
            | ChangeError::QueueFull { .. }
            | ChangeError::Lapsed
            | ChangeError::Stopping => {
                tracing::debug!(device = %live.key, %error, "not announced yet");
            }
        }
    }
}
