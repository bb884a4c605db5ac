//! The worker's loop: events in, effects out.

use std::{pin::pin, sync::Arc, time::Duration};

use hashbrown::HashMap;
use rollcall_proto::device::{self as wire, AttachResponse};
use rollcall_transport::Access;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::AbortHandle,
    time::Instant,
};

use super::{dial, run};
use crate::{
    call::Call,
    core::{CallId, Core, Effect, Fault, HEALTH_ACTION, Input, LinkId, Moment, Note, Outcome},
    device::Device,
    handlers::Health,
    limits,
    outbox::{Outbox, Outgoing},
    report::{report, returned},
    state::AgentState,
    stats::ConnectionStats,
};

/// What connections tell the worker.
#[derive(Debug)]
pub(super) enum Event {
    Connected(LinkId),
    /// In the order in which they came.
    Frames(LinkId, Vec<AttachResponse>),
    Lost(LinkId, Fault),
}

/// What the owner tells the worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Stop within this time.
    Stop(Duration),
}

/// A connection's two ends.
struct Wire {
    outgoing: Option<mpsc::Sender<Outgoing>>,
    reader: AbortHandle,
}

/// Both ends of a channel whose length the table of calls bounds.
type Both<T> = (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>);

/// Where the devices' owner looks, by device.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) states: Vec<watch::Sender<AgentState>>,
    pub(crate) stats: Vec<watch::Sender<ConnectionStats>>,
}

/// Owns the core and everything that runs for it.
pub(crate) struct Worker {
    core: Core,
    devices: Vec<Device>,
    states: Vec<watch::Sender<AgentState>>,
    stats: Vec<watch::Sender<ConnectionStats>>,
    agent: String,
    /// Runs the handlers.
    executor: Handle,
    access: Access,
    started: Instant,
    wires: HashMap<LinkId, Wire>,
    handlers: HashMap<CallId, AbortHandle>,
    events: (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    finished: Both<(CallId, Outcome)>,
    written: Both<CallId>,
    effects: Vec<Effect>,
    done: bool,
}

impl Worker {
    /// A worker for these devices; what becomes of them is told to `told`, in the same order.
    pub(crate) fn new(
        core: Core,
        devices: Vec<Device>,
        told: Told,
        agent: String,
        executor: Handle,
        access: Access,
    ) -> Self {
        Self {
            core,
            devices,
            states: told.states,
            stats: told.stats,
            agent,
            executor,
            access,
            started: Instant::now(),
            wires: HashMap::new(),
            handlers: HashMap::new(),
            events: mpsc::channel(limits::INBOX_BATCHES),
            // Both are unbounded, but never longer than the table of calls, which the capacity bounds.
            finished: mpsc::unbounded_channel(),
            written: mpsc::unbounded_channel(),
            effects: Vec::new(),
            done: false,
        }
    }

    /// Runs until the owner's handle is gone or all devices have stopped.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut inbox = Vec::with_capacity(limits::INBOX_BATCHES);
        let mut owned = true;
        let mut alarm = pin!(tokio::time::sleep_until(self.started));
        self.input(Input::Tick);
        while !self.done {
            let wake = self.core.wake_at().map(|at| self.started + at);
            if let Some(wake) = wake.filter(|wake| *wake != alarm.deadline()) {
                alarm.as_mut().reset(wake);
            }
            tokio::select! {
                command = commands.recv(), if owned => match command {
                    Some(Command::Stop(grace)) => self.input(Input::Stop(grace)),
                    None => {
                        owned = false;
                        self.input(Input::Stop(Duration::ZERO));
                    }
                },
                Some((call, outcome)) = self.finished.1.recv() => self.finished(call, outcome),
                Some(call) = self.written.1.recv() => self.input(Input::Written(call)),
                _ = self.events.1.recv_many(&mut inbox, limits::INBOX_BATCHES) => {}
                () = &mut alarm, if wake.is_some() => self.input(Input::Tick),
            }
            // A node may reuse a result's place as soon as it has the result, so that what was written comes first.
            self.drain_reports();
            for event in inbox.drain(..) {
                self.event(event);
            }
        }
        self.handlers.values().for_each(AbortHandle::abort);
    }

    fn drain_reports(&mut self) {
        while let Ok(call) = self.written.1.try_recv() {
            self.input(Input::Written(call));
        }
        while let Ok((call, outcome)) = self.finished.1.try_recv() {
            self.finished(call, outcome);
        }
    }

    fn finished(&mut self, call: CallId, outcome: Outcome) {
        self.handlers.remove(&call);
        self.input(Input::Finished(call, outcome));
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected(link) => self.input(Input::Connected(link)),
            Event::Frames(link, frames) => {
                for frame in frames {
                    if let Some(body) = frame.frame {
                        self.input(Input::Frame(link, frame.slot, body));
                    }
                }
            }
            Event::Lost(link, fault) => {
                self.wires.remove(&link);
                self.input(Input::Lost(link, fault));
            }
        }
    }

    fn input(&mut self, input: Input) {
        let at = Moment { now: self.started.elapsed(), random: rand::random() };
        let mut effects = std::mem::take(&mut self.effects);
        self.core.handle(input, at, &mut effects);
        for effect in effects.drain(..) {
            self.perform(effect);
        }
        self.effects = effects;
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Dial(link, server) => self.dial(link, server),
            Effect::ChunkBytes(link, bytes) => self.send(link, Outgoing::ChunkBytes(bytes)),
            Effect::WaitForCredit(link) => self.send(link, Outgoing::WaitForCredit),
            Effect::Credit(link, slot, tag, bytes) => self.send(link, Outgoing::Credit(slot, tag, bytes)),
            Effect::Discard(link, slot) => self.send(link, Outgoing::Discard(slot)),
            Effect::Send(link, frame) => self.send(link, Outgoing::Frame(frame)),
            Effect::Reply(link, slot, call, result) => self.send(link, Outgoing::Result(slot, call, result)),
            Effect::Renew(link) => self.renew(link),
            Effect::End(link) => {
                if let Some(wire) = self.wires.get_mut(&link) {
                    wire.outgoing = None;
                }
            }
            Effect::Drop(link) => {
                if let Some(wire) = self.wires.remove(&link) {
                    wire.reader.abort();
                }
            }
            Effect::Start(id, device, call, deadline) => self.start(id, device, *call, deadline),
            Effect::Abort(call) => {
                if let Some(handler) = self.handlers.get(&call) {
                    handler.abort();
                }
            }
            Effect::State(device, state) => self.tell(device, state),
            Effect::Note(device, note) => self.note(device, note),
            Effect::Done => self.done = true,
        }
    }

    fn dial(&mut self, link: LinkId, server: String) {
        let (outgoing, incoming) = mpsc::channel(limits::OUTBOX_FRAMES);
        let outbox = Outbox::new(incoming, self.written.0.clone());
        let task = tokio::spawn(dial::run(link, server, self.access.clone(), outbox, self.events.0.clone()));
        self.wires.insert(link, Wire { outgoing: Some(outgoing), reader: task.abort_handle() });
        self.send(link, Outgoing::Frame(Box::new(dial::hello(&self.agent))));
    }

    /// Queues without waiting. A connection that does not take what is sent is cut.
    fn send(&mut self, link: LinkId, outgoing: Outgoing) {
        let Some(wire) = self.wires.get_mut(&link) else { return };
        let Some(sender) = &wire.outgoing else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(outgoing) {
            tracing::warn!(bound = limits::OUTBOX_FRAMES, "the node does not read: dropping the connection");
            wire.outgoing = None;
            wire.reader.abort();
            let events = self.events.0.clone();
            tokio::spawn(async move {
                let fault = Fault::transient("the node did not read what it was sent");
                let _ = events.send(Event::Lost(link, fault)).await;
            });
        }
    }

    /// Reads the token's file beside: the worker waits for no disk.
    fn renew(&self, link: LinkId) {
        let Some(sender) = self.wires.get(&link).and_then(|wire| wire.outgoing.clone()) else { return };
        let access = self.access.clone();
        tokio::spawn(async move {
            if let Some(frame) = dial::credentials(&access).await {
                // A connection that is full or gone will be asked again, or has no need.
                let _ = sender.try_send(Outgoing::Frame(Box::new(frame)));
            }
        });
    }

    fn start(&mut self, id: CallId, device: usize, call: wire::Call, deadline: Option<Duration>) {
        let Some(owner) = self.devices.get(device) else { return };
        let handler = match owner.actions.get(&call.action) {
            Some(handler) => Arc::clone(handler),
            None if call.action == HEALTH_ACTION => Arc::new(Health),
            // The core has looked the action up in the same device's profile.
            None => return,
        };
        let call = Call {
            action: call.action,
            payload: call.payload,
            content_type: call.content_type,
            metadata: call.metadata,
            request_id: call.request_id,
            group: call.group,
            namespace: Arc::clone(&owner.namespace),
            device_id: Arc::clone(&owner.id),
            epoch: call.epoch,
            idempotent: call.idempotent,
            deadline: deadline.map(|deadline| self.started + deadline),
        };
        let task = run::start(&self.executor, id, handler, call, self.finished.0.clone());
        self.handlers.insert(id, task);
    }

    fn note(&self, device: usize, note: Note) {
        let Some(stats) = self.stats.get(device) else { return };
        stats.send_modify(|stats| match note {
            Note::Lost => stats.lost += 1,
            Note::Returned { away, resumed, replayed, given_up } => {
                stats.attached += 1;
                stats.resumed += u64::from(resumed);
                stats.replayed_results += replayed as u64;
                stats.results_given_up = given_up;
                stats.last_away = away.or(stats.last_away);
            }
        });
        if let (Note::Returned { away: Some(away), resumed, replayed, .. }, Some(owner)) =
            (note, self.devices.get(device))
        {
            returned(&owner.namespace, &owner.id, away, resumed, replayed);
        }
    }

    fn tell(&self, device: usize, state: AgentState) {
        if let Some(owner) = self.devices.get(device) {
            report(&owner.namespace, &owner.id, &state);
        }
        if let Some(sender) = self.states.get(device) {
            sender.send_replace(state);
        }
    }
}
