//! Follows apply: sessions of this node that were superseded or closed elsewhere, and devices that came.

use std::sync::{Arc, Weak};

use rollcall_proto::device::CloseCode;
use rollcall_registry::{
    ApplyObserver, Registrar,
    model::{
        event::{CloseCause, Event, SessionRef},
        ids::{DeviceKey, Epoch, LogIndex},
    },
};
use tokio::sync::{Notify, mpsc};

use super::{device_sessions::DeviceSessions, state::Supersession};
use crate::limits;

/// The router's ear on the log.
pub(crate) struct Observer<R> {
    sessions: Weak<DeviceSessions<R>>,
    orphans: mpsc::Sender<(DeviceKey, Epoch)>,
    /// Told of every change of a node.
    nodes: Arc<Notify>,
}

impl<R: Registrar> Observer<R> {
    /// Follows the log for these sessions; tells `nodes` of every change of a node.
    pub(crate) fn new(sessions: &Arc<DeviceSessions<R>>, nodes: Arc<Notify>) -> Self {
        let (orphans, queue) = mpsc::channel(limits::ORPHANS);
        let sessions = Arc::downgrade(sessions);
        tokio::spawn(close_orphans(Weak::clone(&sessions), queue));
        Self { sessions, orphans, nodes }
    }

    fn opened(
        &self,
        sessions: &DeviceSessions<R>,
        device: &DeviceKey,
        session: &SessionRef,
        replaced: Option<&SessionRef>,
    ) {
        let me = sessions.registry.node();
        // What replaces a session that is being announced again is its announcement, or is found out by it.
        let announced = |replaced: &&SessionRef| sessions.announcing.lock().contains(&replaced.epoch);
        if let Some(replaced) = replaced.filter(|it| it.node == me && !announced(it)) {
            let same_instance = replaced.instance == session.instance;
            let (winner, node) = (session.epoch, session.node);
            sessions.superseded(replaced.epoch, Supersession { winner, node, same_instance });
        }
        sessions.came_back(device, session);
        let mine = session.node == me && session.incarnation == sessions.registry.incarnation();
        let awaited = || sessions.awaited.lock().contains_key(device);
        if mine && !awaited() && sessions.table.get(session.epoch).is_none() {
            // Its attach was given up. When the queue is full, the lease's end cleans up.
            drop(self.orphans.try_send((device.clone(), session.epoch)));
        }
    }
}

impl<R: Registrar> ApplyObserver for Observer<R> {
    fn applied(&self, _index: LogIndex, events: &[Event]) {
        let Some(sessions) = self.sessions.upgrade() else { return };
        let mut arrived = false;
        for event in events {
            match event {
                Event::Opened { device, session, replaced, rival_from, .. } => {
                    self.opened(&sessions, device, session, replaced.as_ref());
                    if let Some(from) = rival_from {
                        sessions.taken_over(device, session, from);
                    }
                    arrived = true;
                }
                Event::Closed { session, cause, .. } => {
                    if session.node == sessions.registry.node() {
                        let (code, message) = farewell(*cause);
                        sessions.ended(session.epoch, code, message);
                    }
                }
                Event::Updated { session, .. } => {
                    if session.node == sessions.registry.node() {
                        sessions.bring_into_force(session.epoch);
                    }
                    arrived = true;
                }
                Event::Created { .. } | Event::Changed { .. } | Event::Removed { .. } => {}
                Event::NodeUp { .. }
                | Event::NodeDown { .. }
                | Event::NodeAdmitted { .. }
                | Event::NodeRemoved { .. } => {
                    self.nodes.notify_one();
                    // Streams outlive the lapse of their node: the announcer sees to them.
                    sessions.lapsed.notify_one();
                }
                Event::LevelRaised { .. } | Event::BatchApplied(_) => {}
            }
        }
        if arrived {
            sessions.arrivals.send_modify(|arrivals| *arrivals += 1);
        }
    }

    fn snapshot_installed(&self, _index: LogIndex) {
        self.nodes.notify_one();
        let Some(sessions) = self.sessions.upgrade() else { return };
        sessions.runtime.clone().spawn(async move {
            for live in sessions.table.all().into_iter().chain(sessions.lingering.all()) {
                sessions.compare(&live);
            }
            sessions.arrivals.send_modify(|arrivals| *arrivals += 1);
        });
    }
}

/// What an agent is told whose session was ended by the registry.
fn farewell(cause: CloseCause) -> (CloseCode, &'static str) {
    match cause {
        CloseCause::Asked => (CloseCode::Disconnected, "an operator ended the session"),
        CloseCause::Disabled => (CloseCode::Forbidden, "an administrator disabled the device"),
        CloseCause::Deleted => (CloseCode::Disconnected, "an administrator deleted the device's record"),
        CloseCause::NodeLost => (CloseCode::GoingAway, "the node lost its place in the cluster"),
    }
}

async fn close_orphans<R: Registrar>(
    sessions: Weak<DeviceSessions<R>>,
    mut orphans: mpsc::Receiver<(DeviceKey, Epoch)>,
) {
    while let Some((device, epoch)) = orphans.recv().await {
        let Some(sessions) = sessions.upgrade() else { return };
        tracing::debug!(%device, %epoch, "closes a session that nobody waited for");
        sessions.registry.close(device, epoch);
    }
}
