//! A broadcast on its way: finds the devices, makes the calls that the core asks for, hands out their results.
//!
//! Each device's call is an ordinary one, with its epoch check, its deadline and its account. All run in one task, which
//! ends with its reader.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use compact_str::CompactString;
use futures::{StreamExt, stream::FuturesUnordered};
use rollcall_registry::{
    Registrar,
    model::ids::{DEFAULT_NAMESPACE, LogIndex},
    routes::Everyone,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{dispatcher::Dispatcher, group::no_device, targets::Targets};
use crate::{
    broadcast::{Broadcast, BroadcastEvent, Summary},
    call::{Call, Reply},
    core::broadcast::{Attempt, Bounds, Broadcast as Core, Step, Target, Verdict, pace::Pace},
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
};

/// A broadcast that has its devices.
pub(crate) struct Sender {
    /// What each device's call is made of.
    call: Call,
    device_timeout: Duration,
    deadline: Instant,
    targets: Targets,
    index: LogIndex,
    core: Core,
    /// Results that the reader has not taken, with the bytes that the core counts for each.
    results: VecDeque<(BroadcastEvent, u64)>,
    node: CompactString,
    _place: Place,
}

impl Sender {
    /// Takes the devices at one index of the registry.
    ///
    /// # Errors
    /// See [`crate::Router::broadcast`].
    pub(crate) async fn prepare<R: Registrar>(
        dispatcher: &Dispatcher<R>,
        broadcast: Broadcast,
    ) -> Result<Self, Failure> {
        let node = CompactString::from(dispatcher.shared.config.node_name.as_str());
        let failed = |failure: Failure| failure.on_node(node.clone());
        let place = Place::take(dispatcher).map_err(failed)?;
        dispatcher.may_take(&broadcast.payload).map_err(failed)?;
        dispatcher.reach(broadcast.min_index, broadcast.deadline).await.map_err(failed)?;
        let (targets, index) = find(dispatcher, &broadcast).await.map_err(failed)?;
        let core = Core::new(targets.len(), broadcast.deadline, pace(&broadcast), bounds(&broadcast));
        Ok(Self {
            device_timeout: broadcast.device_timeout,
            deadline: broadcast.deadline,
            call: template(broadcast),
            targets,
            index,
            core,
            results: VecDeque::new(),
            node,
            _place: place,
        })
    }

    /// How many devices there are.
    pub(crate) fn targets(&self) -> u32 {
        self.targets.len()
    }

    /// The index at which they were taken.
    pub(crate) fn index(&self) -> LogIndex {
        self.index
    }

    /// Calls the devices until each has its result, or until nobody reads the events any more.
    pub(crate) async fn run<R: Registrar>(
        mut self,
        dispatcher: &Dispatcher<R>,
        events: mpsc::Sender<BroadcastEvent>,
    ) {
        let mut calls = FuturesUnordered::new();
        loop {
            let wake = match self.core.step(Instant::now()) {
                Step::Send(attempt) => {
                    let call = self.call_of(attempt.target);
                    calls.push(async move { (attempt, dispatcher.invoke(call, 0).await) });
                    continue;
                }
                Step::GiveUp(target) => {
                    self.give_up(target);
                    continue;
                }
                Step::Wait(wake) => wake,
                Step::Over => {
                    // A reader who has gone needs no summary.
                    let _ = events.send(BroadcastEvent::Summary(self.summary())).await;
                    return;
                }
            };
            tokio::select! {
                Some((attempt, result)) = calls.next(), if !calls.is_empty() => self.ended(attempt, result),
                permit = events.reserve(), if !self.results.is_empty() => {
                    let Ok(permit) = permit else { return };
                    if let Some((event, bytes)) = self.results.pop_front() {
                        permit.send(event);
                        self.core.taken(bytes);
                    }
                }
                () = sleep_until(wake.unwrap_or(self.deadline)), if wake.is_some() => {}
                () = events.closed() => return,
            }
        }
    }

    fn call_of(&self, target: Target) -> Box<Call> {
        let arrived = Instant::now();
        Box::new(Call {
            device_id: Some(self.targets.id(target).into()),
            arrived,
            deadline: self.deadline.min(arrived + self.device_timeout),
            ..self.call.clone()
        })
    }

    fn ended(&mut self, attempt: Attempt, result: Result<Reply, Failure>) {
        let bytes = match &result {
            Ok(reply) => {
                let bytes = reply.payload.len() as u64;
                self.core.answered(bytes);
                bytes
            }
            Err(failure) => match self.core.failed(attempt, failure, Instant::now()) {
                Verdict::Again => return,
                Verdict::Result => 0,
            },
        };
        self.result(attempt.target, result, bytes);
    }

    fn give_up(&mut self, target: Target) {
        let failure = Failure::deadline(Stage::Queue, Outcome::NotExecuted);
        let failure = failure.on_device(self.targets.id(target)).on_node(self.node.clone());
        self.result(target, Err(failure), 0);
    }

    fn result(&mut self, target: Target, result: Result<Reply, Failure>, bytes: u64) {
        let device_id = self.targets.id(target).into();
        self.results.push_back((BroadcastEvent::Result { device_id, result }, bytes));
    }

    fn summary(&self) -> Summary {
        let tally = self.core.tally();
        Summary {
            targets: u64::from(self.targets.len()),
            answered: tally.answers(),
            failed: Outcome::ALL.map(|outcome| tally.failures(outcome)),
            reasons: tally.reasons().collect(),
            total: self.call.arrived.elapsed(),
        }
    }
}

/// One of the broadcasts that run.
struct Place {
    running: Arc<AtomicUsize>,
    gauge: metrics::Gauge,
}

impl Place {
    fn take<R>(dispatcher: &Dispatcher<R>) -> Result<Self, Failure> {
        let running = Arc::clone(&dispatcher.broadcasts);
        let gauge = dispatcher.shared.metrics.broadcasts.clone();
        gauge.increment(1.0);
        let before = running.fetch_add(1, Ordering::Relaxed);
        // Dropped at once if there is no place: that counts it out again.
        let place = Self { running, gauge };
        if before < limits::BROADCASTS {
            return Ok(place);
        }
        let message = format!("{} broadcasts run on this node", limits::BROADCASTS);
        Err(Failure::not_executed(Reason::Overloaded, message).retry_after(limits::BROADCAST_PAUSE))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.gauge.decrement(1.0);
    }
}

/// Finds the devices, off the threads of calls: it reads every row.
async fn find<R: Registrar>(
    dispatcher: &Dispatcher<R>,
    broadcast: &Broadcast,
) -> Result<(Targets, LogIndex), Failure> {
    let routes = dispatcher.registry.routes().clone();
    let (namespace, group, labels) =
        (broadcast.namespace.clone(), broadcast.group.clone(), broadcast.labels.clone());
    let found = tokio::task::spawn_blocking(move || {
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let group = (!group.is_empty()).then_some(group.as_str());
        let whom = Everyone { namespace: &namespace, group, labels: &labels };
        let mut targets = Targets::default();
        let index = routes.visit_connected(&whom, |device| targets.add(device));
        targets.shrink();
        (targets, index)
    });
    let (targets, index) = found
        .await
        .map_err(|_stopping| Failure::not_executed(Reason::ShuttingDown, "the node shuts down"))?;
    if targets.overflowed() {
        let message = format!("more than {} devices match: narrow it by labels", targets.len());
        return Err(Failure::not_executed(Reason::Overloaded, message));
    }
    if targets.len() == 0 { Err(no_device()) } else { Ok((targets, index)) }
}

fn pace(broadcast: &Broadcast) -> Pace {
    Pace::new(broadcast.rate_per_second.min(limits::BROADCAST_RATE), limits::BROADCAST_SLACK)
}

fn bounds(broadcast: &Broadcast) -> Bounds {
    Bounds {
        window: broadcast.in_flight.clamp(1, limits::BROADCAST_IN_FLIGHT_MOST),
        held_bytes: limits::BROADCAST_HELD_BYTES,
        again: limits::BROADCAST_AGAIN,
        attempts: limits::BROADCAST_ATTEMPTS,
        pause: limits::BROADCAST_PAUSE,
    }
}

fn template(broadcast: Broadcast) -> Call {
    let namespace = if broadcast.namespace.is_empty() {
        CompactString::const_new(DEFAULT_NAMESPACE)
    } else {
        broadcast.namespace
    };
    Call {
        namespace,
        group: broadcast.group,
        action: broadcast.action,
        device_id: None,
        payload: broadcast.payload,
        content_type: broadcast.content_type,
        metadata: broadcast.metadata,
        labels: broadcast.labels,
        affinity_key: None,
        request_id: broadcast.request_id,
        idempotent: broadcast.idempotent,
        connect_wait: Duration::ZERO,
        min_index: LogIndex(0),
        arrived: broadcast.arrived,
        deadline: broadcast.deadline,
    }
}
