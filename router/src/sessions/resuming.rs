//! Attaches that go on with a session of this node: nothing is committed, no epoch changes.

use std::sync::Arc;

use rollcall_proto::device::{self, CloseCode};
use rollcall_registry::{Registrar, model::ids::Epoch};

use super::{
    connection::Connection,
    device_sessions::DeviceSessions,
    lingering::Lingers,
    live::LiveDevice,
    opening::Stream,
    profile::{AttachRequest, Former},
    state::{Whereabouts, refusal},
    token::is_genuine,
};
use crate::core::{
    resume::{Claim, Decision, Held, ProfileIs, Streams, Token, decide},
    returned::Returned,
};

impl<R: Registrar> DeviceSessions<R> {
    /// Goes on with the device's session, if it is held here. `None`: a new one is to be opened.
    pub(super) fn resume(
        &self,
        connection: &Arc<Connection>,
        slot: u32,
        opening: u64,
        attach: &AttachRequest,
    ) -> Option<Result<(), device::AttachRefused>> {
        let former = self.believed(attach)?;
        if self.is_draining() || !self.registry.lease_held() {
            return None;
        }
        // One at a time: two streams of a device, each of which takes the session from the other, end in one of them.
        let _one = self.resuming.lock();
        let live = self.held(former.epoch).filter(|live| live.key == attach.key)?;
        let cluster = self.registry.routes().cluster_id()?;
        let claim = Claim {
            instance: attach.instance,
            attach_number: attach.attach_number,
            epoch: former.epoch,
            cluster: Some(cluster),
            token: Token::Genuine,
            streams: if former.returned.lists_all() { Streams::One } else { Streams::Several },
        };
        let profile = if live.own == attach.profile { ProfileIs::Same } else { ProfileIs::Changed };
        let held = Held {
            instance: live.instance,
            attach_number: live.attach_number,
            epoch: live.epoch,
            row: self.row_here(&live),
            profile,
        };
        match decide(&claim, &held, cluster) {
            Decision::OpenAnew => None,
            Decision::Outdated => {
                Some(Err(refusal(CloseCode::Superseded, "the device itself has attached since".to_owned())))
            }
            Decision::Resume => {
                let renewed = Arc::new(LiveDevice {
                    connection: Arc::clone(connection),
                    slot,
                    attach_number: attach.attach_number,
                    returned: Some(Arc::clone(&former.returned)),
                    ..(*live).clone()
                });
                self.carry_on(&live, &renewed, opening, &former.returned).then_some(Ok(()))
            }
        }
    }

    /// What an attach says of its former session, if its token shows that it may.
    pub(super) fn believed<'a>(&self, attach: &'a AttachRequest) -> Option<&'a Former> {
        let former = attach.former.as_deref()?;
        let routes = self.registry.routes();
        let (cluster, key) = (routes.cluster_id()?, routes.token_key()?);
        let genuine = former.cluster_id == cluster.to_string()
            && is_genuine(&former.resume_token, &key, cluster, &attach.key, former.epoch);
        genuine.then_some(former)
    }

    /// A session of this node, callable or not.
    pub(crate) fn held(&self, epoch: Epoch) -> Option<Arc<LiveDevice>> {
        self.table.get(epoch).or_else(|| self.lingering.get(epoch))
    }

    /// The epoch of the device's row, if that says that this node holds it.
    fn row_here(&self, live: &LiveDevice) -> Option<Epoch> {
        let session = self.registry.routes().device(&live.key)?.session?;
        let here = session.node == self.registry.node() && session.incarnation == live.incarnation;
        here.then_some(session.epoch)
    }

    /// Moves a session to another connection. `false`: it is over, or nobody waits for the attach any more.
    fn carry_on(
        &self,
        former: &Arc<LiveDevice>,
        live: &Arc<LiveDevice>,
        opening: u64,
        returned: &Returned,
    ) -> bool {
        let attached = device::Attached { replay: true, ..self.attached(live, Stream::GoesOn) };
        // In the table first: whatever happens to the new connection finds it there.
        let was_away = self.lingering.remove(live.epoch).is_some();
        self.table.insert(live);
        if !live.connection.adopt(opening, former, live, attached, returned) {
            self.put_back(former);
            if !was_away && self.table.get(former.epoch).is_none() {
                // Lost while it was in the table under its new connection, which nobody then counted.
                self.site_loses(former, CloseCode::Unspecified);
            }
            return false;
        }
        if was_away {
            self.site_gains(live);
        }
        self.show_sessions();
        self.shared.metrics.resumed.increment(1);
        tracing::debug!(device = %live.key, epoch = %live.epoch, "device came back");
        // The row may have changed since it was looked at.
        self.compare(live);
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
        true
    }

    fn put_back(&self, former: &Arc<LiveDevice>) {
        self.table.insert(former);
        match former.connection.whereabouts(former) {
            Whereabouts::Slot => {}
            Whereabouts::Absent => {
                self.lingering.insert(Arc::clone(former), Lingers::Suspended);
                self.table.remove(former.epoch);
            }
            Whereabouts::Gone => {
                self.table.remove(former.epoch);
                self.registry.close(former.key.clone(), former.epoch);
            }
        }
    }
}
