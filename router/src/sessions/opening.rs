//! From an attach to a session: the commit, then the table, then the agent. Runs in a task of its own per attach.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rollcall_proto::device::{self, CloseCode};
use rollcall_registry::{
    ChangeError, Opened, Registrar,
    model::{
        command::OpenSession,
        ids::{DeviceKey, Epoch},
        profile::Profile,
        rejection::ChangeRejection,
    },
};

use super::{
    connection::Connection,
    device_sessions::DeviceSessions,
    group_load::Counted,
    live::LiveDevice,
    profile::AttachRequest,
    sites::site_of,
    state::{Supersession, refusal},
    token::resume_token,
};
use crate::limits;

impl<R: Registrar> DeviceSessions<R> {
    /// Registers a device on a connection's slot, or refuses it.
    pub(super) async fn open(
        self: Arc<Self>,
        connection: Arc<Connection>,
        slot: u32,
        opening: u64,
        attach: AttachRequest,
    ) {
        match self.resume(&connection, slot, opening, &attach) {
            Some(Ok(())) => return,
            Some(Err(refused)) => {
                self.shared.metrics.attach_refused(refused.code());
                return connection.not_opened(slot, opening, refused);
            }
            None => {}
        }
        if let Err(refused) = self.hold_back(&attach).await {
            self.shared.metrics.attach_refused(refused.code());
            return connection.not_opened(slot, opening, refused);
        }
        let waiting = self.openings.fetch_add(1, Ordering::Relaxed);
        let came_back = self.was_away(&attach);
        let opened = match self.admit(&attach) {
            Err(refused) => Err(refused),
            Ok(()) if waiting < limits::OPENINGS => self.commit(&connection, &attach).await,
            Ok(()) => {
                Err(later(CloseCode::Overloaded, "too many devices attach at once", Duration::from_secs(1)))
            }
        };
        self.openings.fetch_sub(1, Ordering::Relaxed);
        match opened {
            Ok(opened) => self.opened(&connection, slot, opening, attach, (opened, came_back)),
            Err(refused) => {
                self.shared.metrics.attach_refused(refused.code());
                tracing::debug!(device = %attach.key, reason = refused.message, "attach refused");
                connection.not_opened(slot, opening, refused);
            }
        }
    }

    /// Whether the device was connected before and has been away, or is another process now.
    fn was_away(&self, attach: &AttachRequest) -> bool {
        let known = self.registry.routes().device(&attach.key);
        known.is_some_and(|device| device.session.is_none_or(|session| session.instance != attach.instance))
    }

    async fn commit(
        &self,
        connection: &Connection,
        attach: &AttachRequest,
    ) -> Result<Opened, device::AttachRefused> {
        if self.is_draining() {
            return Err(self.elsewhere(CloseCode::GoingAway, "the node shuts down"));
        }
        if !self.registry.lease_held() {
            let refused = self.elsewhere(CloseCode::Unavailable, "the node has lost touch with its cluster");
            return Err(device::AttachRefused {
                retry_after: duration(limits::LAPSED_RETRY_AFTER),
                ..refused
            });
        }
        let open = OpenSession {
            instance: attach.instance,
            attach_number: attach.attach_number,
            profile: Arc::clone(&attach.profile),
            remote_addr: connection.remote_addr.clone(),
            only_if: None,
        };
        let before = self.own_session(attach);
        self.await_opening(&attach.key);
        let opened =
            tokio::time::timeout(limits::OPEN_PATIENCE, self.registry.open(attach.key.clone(), open)).await;
        match opened {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error @ ChangeError::Rejected(_))) => {
                self.no_longer_awaited(&attach.key);
                Err(self.refusal_of(&error))
            }
            Ok(Err(error)) => {
                self.give_up(attach, before);
                Err(self.refusal_of(&error))
            }
            Err(_elapsed) => {
                self.give_up(attach, before);
                Err(self.elsewhere(CloseCode::Unavailable, "the cluster did not commit the attach in time"))
            }
        }
    }

    /// The session is committed: makes it callable, and tells the agent.
    fn opened(
        &self,
        connection: &Arc<Connection>,
        slot: u32,
        opening: u64,
        attach: AttachRequest,
        (opened, came_back): (Opened, bool),
    ) {
        let site = site_of(&attach.profile);
        let in_force = self.in_force(&attach.key, opened.epoch);
        let profile = in_force.unwrap_or_else(|| Arc::clone(&attach.profile));
        let live = Arc::new(LiveDevice {
            key: attach.key.clone(),
            epoch: opened.epoch,
            instance: attach.instance,
            attach_number: attach.attach_number,
            incarnation: self.registry.incarnation(),
            returned: self.believed(&attach).map(|former| Arc::clone(&former.returned)),
            own: shared(attach.profile, &profile),
            profile,
            connection: Arc::clone(connection),
            slot,
            site,
            came_back,
            shown: Arc::default(),
            counted: Counted::default(),
        });
        self.table.insert(&live);
        self.site_gains(&live);
        self.show_sessions();
        if connection.opened(opening, Arc::clone(&live), self.attached(&live, Stream::New)) {
            self.shared.metrics.opened.increment(1);
            tracing::debug!(device = %live.key, epoch = %live.epoch, "device attached");
        } else {
            self.take(live.epoch, CloseCode::Unspecified);
            self.registry.close(live.key.clone(), live.epoch);
        }
        self.no_longer_awaited(&attach.key);
        // Apply may have gone on before the session was in the table.
        self.compare(&live);
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    pub(super) fn attached(&self, live: &LiveDevice, stream: Stream) -> device::Attached {
        let routes = self.registry.routes();
        let cluster = routes.cluster_id().unwrap_or_default();
        let token = routes.token_key().map(|key| resume_token(&key, cluster, &live.key, live.epoch));
        device::Attached {
            cluster_id: cluster.to_string(),
            epoch: live.epoch.0,
            resume_token: token.unwrap_or_default(),
            resumed: stream == Stream::GoesOn,
            replay: live.returned.is_some(),
        }
    }

    /// Nobody waits for this attach any more, but it may have been, or may yet be, committed. The session that this very
    /// attach had opened `before` is not its own: somebody has said it twice.
    fn give_up(&self, attach: &AttachRequest, before: Option<Epoch>) {
        self.no_longer_awaited(&attach.key);
        let opened = self.own_session(attach);
        if let Some(epoch) = opened.filter(|_| opened != before) {
            self.registry.close(attach.key.clone(), epoch);
        }
    }

    /// The session on this node that an attach of this number has opened.
    fn own_session(&self, attach: &AttachRequest) -> Option<Epoch> {
        let session = self.registry.routes().device(&attach.key)?.session?;
        let is_own = session.node == self.registry.node()
            && (session.instance, session.attach_number) == (attach.instance, attach.attach_number);
        is_own.then_some(session.epoch)
    }

    /// Somebody waits for this device's session to be opened.
    pub(super) fn await_opening(&self, key: &DeviceKey) {
        *self.awaited.lock().entry(key.clone()).or_default() += 1;
    }

    /// The reverse of [`Self::await_opening`].
    pub(super) fn no_longer_awaited(&self, key: &DeviceKey) {
        let mut awaited = self.awaited.lock();
        if let Some(count) = awaited.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                awaited.remove(key);
            }
        }
    }

    /// Compares a session of this node with its row.
    pub(super) fn compare(&self, live: &LiveDevice) {
        let session = self.registry.routes().device(&live.key).and_then(|device| device.session);
        match session {
            Some(session) if session.epoch == live.epoch => self.bring_into_force(live.epoch),
            Some(session) => {
                let same_instance = session.instance == live.instance;
                let (winner, node) = (session.epoch, session.node);
                self.superseded(live.epoch, Supersession { winner, node, same_instance });
            }
            // Its row is void, not gone: it is announced again once this node is registered.
            None if live.incarnation != self.registry.incarnation() => self.lapsed.notify_one(),
            None => self.ended(live.epoch, CloseCode::GoingAway, "the registry no longer has the session"),
        }
    }

    /// Replaces a session's profile.
    pub(super) async fn update(self: Arc<Self>, live: Arc<LiveDevice>, number: u64, profile: Arc<Profile>) {
        let update = self.registry.update(live.key.clone(), live.epoch, Arc::clone(&profile));
        let updated = tokio::time::timeout(limits::OPEN_PATIENCE, update).await;
        if !matches!(updated, Ok(Ok(_))) {
            // The agent cannot know which profile is in force: it attaches again.
            return self.close_after_failed_update(&live);
        }
        let in_force = self.in_force(&live.key, live.epoch).unwrap_or_else(|| Arc::clone(&profile));
        let own = shared(profile, &in_force);
        let renewed = Arc::new(LiveDevice { own, profile: in_force, ..LiveDevice::clone(&live) });
        if self.table.get(live.epoch).is_some() && live.connection.updated(Arc::clone(&renewed), number) {
            self.table.insert(&renewed);
            self.arrivals.send_modify(|arrivals| *arrivals += 1);
            self.bring_into_force(renewed.epoch);
        }
    }

    fn close_after_failed_update(&self, live: &LiveDevice) {
        live.connection.close(live, CloseCode::Unavailable, "the cluster did not commit the update");
    }

    fn refusal_of(&self, error: &ChangeError) -> device::AttachRefused {
        match error {
            ChangeError::NoLeader { retry_after } => {
                let refused = self.elsewhere(CloseCode::Unavailable, "the cluster has no leader");
                device::AttachRefused { retry_after: duration(*retry_after), ..refused }
            }
            ChangeError::QueueFull { retry_after } => {
                later(CloseCode::Overloaded, "too many devices attach at once", *retry_after)
            }
            ChangeError::Rejected(rejection) => match rejection {
                ChangeRejection::OlderAttach { .. } | ChangeRejection::EpochMismatch { .. } => {
                    refusal(CloseCode::Superseded, rejection.to_string())
                }
                ChangeRejection::Disabled | ChangeRejection::NotRegistered => {
                    refusal(CloseCode::Forbidden, rejection.to_string())
                }
            },
            ChangeError::TooLarge { .. } => refusal(CloseCode::Invalid, error.to_string()),
            ChangeError::Lapsed => self.elsewhere(CloseCode::Unavailable, "the node registers again"),
            ChangeError::Stopping => self.elsewhere(CloseCode::GoingAway, "the node shuts down"),
        }
    }

    pub(super) fn elsewhere(&self, code: CloseCode, message: &str) -> device::AttachRefused {
        device::AttachRefused { try_addrs: self.other_device_addrs(), ..refusal(code, message.to_owned()) }
    }
}

/// What an Attached means to the agent's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// A session begins on it.
    New,
    /// The session goes on under another epoch.
    GoesOn,
}

pub(super) fn later(code: CloseCode, message: &str, retry_after: Duration) -> device::AttachRefused {
    device::AttachRefused { retry_after: duration(retry_after), ..refusal(code, message.to_owned()) }
}

/// One copy of a profile where both are the same: the registry keeps one for all devices that say the same.
fn shared(own: Arc<Profile>, in_force: &Arc<Profile>) -> Arc<Profile> {
    if own == *in_force { Arc::clone(in_force) } else { own }
}

fn duration(duration: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(duration).ok()
}
