//! The server of links: checks who opens one, then hands its calls to devices.

use std::sync::Arc;

use compact_str::CompactString;
use rollcall_proto::peer::{LinkRequest, link_service_server::LinkService};
use rollcall_registry::{
    Registrar,
    faults::{self, Switch},
    model::ids::{Epoch, NodeId},
    routes::view::Route,
};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    inbound::{Arrival, Arrived, Inbound, Started},
    packets::ReplyPackets,
    wire,
};
use crate::{
    Isolation,
    core::{device::Queueing, in_flight::OnLoss, once::CallName, token::CallToken, transit::Transit},
    delivery::{Delivery, LateAnswers, ReplyTo},
    limits,
    outcome::{Failure, Reason},
    payload::Payload,
    sessions::{
        device_sessions::DeviceSessions, ending, group_load::GroupLoad, slot::Terms, table::GroupQuery,
        ticket::Ticket,
    },
};

/// The server of links.
pub(crate) struct Links<R> {
    pub(crate) sessions: Arc<DeviceSessions<R>>,
}

#[tonic::async_trait]
impl<R: Registrar> LinkService for Links<R> {
    type LinkStream = ReplyPackets;

    async fn link(&self, request: Request<Streaming<LinkRequest>>) -> Result<Response<ReplyPackets>, Status> {
        self.check(request.metadata())?;
        let config = &self.sessions.shared.config;
        let late = Arc::clone(&self.sessions) as Arc<dyn LateAnswers>;
        let link = Arc::new(Inbound::new(config.node_name.clone(), config.max_payload_bytes, late));
        let source = source(request.metadata());
        let reader = read(Arc::clone(&self.sessions), Arc::clone(&link), source, request.into_inner());
        tokio::spawn(reader);
        Ok(Response::new(ReplyPackets { link }))
    }
}

impl<R: Registrar> Links<R> {
    /// The link must come from this cluster and mean this node.
    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let registry = &self.sessions.registry;
        let given = |name| metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let cluster = registry.routes().cluster_id().map(|id| id.to_string());
        if cluster.as_deref() != Some(given(wire::CLUSTER_ID)) {
            return Err(Status::failed_precondition("the link belongs to another cluster"));
        }
        if given(wire::TARGET_ID) != registry.node().to_string() {
            return Err(Status::failed_precondition("the link is meant for another node"));
        }
        if source(metadata) == NodeId(0) {
            return Err(Status::failed_precondition("the link does not say which node opens it"));
        }
        Ok(())
    }
}

/// The node that opens a link; 0: it does not say.
fn source(metadata: &MetadataMap) -> NodeId {
    let given = metadata.get(wire::SOURCE_ID).and_then(|value| value.to_str().ok());
    NodeId(given.and_then(|id| id.parse().ok()).unwrap_or_default())
}

/// Reads a link until it ends, and gives up what nobody has asked for a resume window later. Never waits for a device.
async fn read<R: Registrar>(
    sessions: Arc<DeviceSessions<R>>,
    link: Arc<Inbound>,
    source: NodeId,
    mut packets: Streaming<LinkRequest>,
) {
    let mut transit = Transit::new(tokio::time::Instant::now());
    let broken = loop {
        let packet = tokio::select! {
            packet = tokio::time::timeout(limits::LINK_DEAD, packets.message()) => packet,
            () = link.over.notified() => break "the transport is gone",
        };
        match packet {
            Ok(Ok(Some(packet))) => {
                let since = transit.due(packet.made_at_ms, tokio::time::Instant::now());
                let taken = packet.frames.into_iter().try_for_each(|frame| {
                    match link.received(frame, wire::beat(&sessions.shared), since)? {
                        Some(Arrival::Call(arrived)) => start(&sessions, &link, arrived),
                        Some(Arrival::Replay(replayed)) => {
                            sessions.arrived(*replayed, &name_of(&sessions, source))
                        }
                        Some(Arrival::Doubt(device, epoch)) => {
                            tokio::spawn(Arc::clone(&sessions).doubted(device, epoch));
                        }
                        Some(Arrival::Question(question)) => {
                            tokio::spawn(Arc::clone(&sessions).answer(question));
                        }
                        None => {}
                    }
                    Ok(())
                });
                if let Err(broken) = taken {
                    break broken;
                }
            }
            Ok(Ok(None)) => break "the origin closed it",
            Ok(Err(_status)) => break "the transport failed",
            Err(_elapsed) => break "nothing was heard",
        }
    };
    tracing::debug!(reason = broken, "a peer's link ended");
    link.close();
    let window = sessions.shared.config.resume_window;
    drop(sessions);
    tokio::time::sleep(window).await;
    link.abandon();
}

fn name_of<R: Registrar>(sessions: &DeviceSessions<R>, node: NodeId) -> CompactString {
    sessions.peers.get(node).map(|peer| peer.name.clone()).unwrap_or_default()
}

/// Gives a call to a device. Only a call that is ahead of this replica costs a task.
fn start<R: Registrar>(sessions: &Arc<DeviceSessions<R>>, link: &Arc<Inbound>, arrived: Arrived) {
    let mut forward = Forward::new(arrived);
    match forward.deliver(sessions, link) {
        Ok(ticket) => link.started(forward.started(ticket)),
        Err((_, failure))
            if failure.reason == Reason::StaleRoute && sessions.may_catch_up(forward.route_index) =>
        {
            tokio::spawn(start_later(Arc::clone(sessions), Arc::clone(link), forward));
        }
        Err((reply, failure)) => forward.refuse(link, reply, failure),
    }
}

async fn start_later<R: Registrar>(
    sessions: Arc<DeviceSessions<R>>,
    link: Arc<Inbound>,
    mut forward: Box<Forward>,
) {
    sessions.catch_up(forward.route_index, Epoch(forward.call.epoch)).await;
    if !link.is_wanted(forward.call_id) {
        return;
    }
    match forward.deliver(&sessions, &link) {
        Ok(ticket) => link.started(forward.started(ticket)),
        Err((reply, failure)) => forward.refuse(&link, reply, failure),
    }
}

/// A call of a peer on its way to a device.
struct Forward {
    call_id: u64,
    token: CallToken,
    call: Box<rollcall_proto::peer::ForwardCall>,
    payload: Payload,
    /// If it is idempotent.
    name: Option<CallName>,
    deadline: tokio::time::Instant,
    route_index: rollcall_registry::model::ids::LogIndex,
    /// Of its group, if the holder picks.
    load: Option<Arc<GroupLoad>>,
}

impl Forward {
    fn new(arrived: Arrived) -> Box<Self> {
        let (remaining, call) = (wire::from_proto(arrived.call.remaining), &arrived.call);
        let name =
            call.idempotent.then(|| CallName::new(&call.request_id, &call.action, arrived.payload.parts()));
        Box::new(Self {
            call_id: arrived.call_id,
            token: wire::token_of(arrived.call.token),
            route_index: rollcall_registry::model::ids::LogIndex(arrived.call.route_index),
            name,
            deadline: arrived.since + remaining,
            call: arrived.call,
            payload: arrived.payload,
            load: None,
        })
    }

    fn started(&mut self, ticket: Ticket) -> Started {
        Started { call_id: self.call_id, token: self.token, ticket, load: self.load.take() }
    }

    fn deliver<R: Registrar>(
        &mut self,
        sessions: &DeviceSessions<R>,
        link: &Arc<Inbound>,
    ) -> Result<Ticket, (ReplyTo, Failure)> {
        let reply = ReplyTo::Sink(Arc::clone(link) as _, self.call_id);
        let serves = sessions.shared.config.isolation == Isolation::ServeAll;
        if !serves && !sessions.registry.lease_held() {
            return Err((reply, ending::fenced()));
        }
        let queueing = if self.call.may_queue { Queueing::Allowed } else { Queueing::Forbidden };
        let name = self.name.take();
        let now = tokio::time::Instant::now();
        let elsewhere = self.call.idempotent && self.call.epoch == 0;
        let terms = Terms {
            token: self.token,
            on_loss: if elsewhere { OnLoss::End } else { OnLoss::Wait },
            deadline: self.deadline,
            queueing,
            name: name.as_ref(),
            now,
        };
        let accepted = self.deliver_on(sessions, terms, reply);
        // A route that is ahead of this replica is tried once more.
        self.name = name;
        accepted
    }

    fn deliver_on<R: Registrar>(
        &mut self,
        sessions: &DeviceSessions<R>,
        terms: Terms<'_>,
        reply: ReplyTo,
    ) -> Result<Ticket, (ReplyTo, Failure)> {
        if self.call.epoch != 0 {
            let epoch = if faults::is_on(Switch::EpochUnchecked) {
                self.newest_epoch(sessions)
            } else {
                Epoch(self.call.epoch)
            };
            return sessions.to_session(epoch, || self.delivery(), terms, reply);
        }
        self.load = sessions.table.load_of(&self.call.namespace, &self.call.group);
        let (namespace, group) = (self.call.namespace.clone(), self.call.group.clone());
        let (action, labels) = (self.call.action.clone(), std::mem::take(&mut self.call.labels));
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let query = GroupQuery { namespace: &namespace, group: &group, action: &action, labels: &labels };
        sessions.to_group(query, || self.delivery(), terms, reply)
    }

    /// What this node has of the device now, whatever the call was routed by.
    fn newest_epoch<R: Registrar>(&self, sessions: &DeviceSessions<R>) -> Epoch {
        match sessions.registry.routes().route(&self.call.namespace, &self.call.device_id) {
            Route::Held { session, .. } => session.epoch,
            Route::NotConnected | Route::Disabled { .. } => Epoch(self.call.epoch),
        }
    }

    fn refuse(&mut self, link: &Inbound, reply: ReplyTo, failure: Failure) {
        link.refused(self.call_id, self.load.take());
        reply.send(Err(failure));
    }

    fn delivery(&mut self) -> Box<Delivery> {
        let call = &mut self.call;
        Box::new(Delivery {
            token: self.token,
            group: std::mem::take(&mut call.group),
            action: std::mem::take(&mut call.action),
            request_id: std::mem::take(&mut call.request_id),
            payload: std::mem::take(&mut self.payload),
            content_type: std::mem::take(&mut call.content_type),
            metadata: std::mem::take(&mut call.metadata),
            idempotent: call.idempotent,
        })
    }
}
