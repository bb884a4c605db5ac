//! The batcher's decisions, pure: what goes into a batch, when it is proposed again, and who is told what.
//!
//! A batch is proposed until this node has *applied* it: the leader's answer decides nothing, so a lost answer, a change
//! of leader and a delayed duplicate all end the same way. The number makes a repeat harmless.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    clock::Moment,
    handle::{ChangeError, Opened},
    limits::{BATCH_BYTES, BATCH_CHANGES, BATCH_REGROUP, BATCH_REGROUP_FROM, BATCH_RETRY, BATCH_RETRY_AFTER},
    model::{
        command::{Batch, ChangeKind, Command, SessionChange},
        event::BatchOutcome,
        ids::{BatchNumber, Epoch, Incarnation, LogIndex, NodeId, UnixMillis},
        rejection::ChangeRejection,
    },
};

/// Names who waits for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// It took effect. For an open, the epoch is the new session's; else the one that the change named.
    Done(Opened),
    /// It did not, or it is not known whether it did.
    Failed(ChangeError),
}

/// What the worker is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Propose this batch to the leader, then report with [`Batcher::proposal_ended`].
    Propose(Arc<Command>),
    /// Tell who waits.
    Complete(Ticket, Completion),
}

/// The batcher's state.
#[derive(Debug)]
pub struct Batcher {
    node: NodeId,
    incarnation: Option<Incarnation>,
    last_number: BatchNumber,
    /// The wall clock as it was last told; for the batches alone.
    at: UnixMillis,
    queue: VecDeque<(SessionChange, Waiting)>,
    in_flight: Option<InFlight>,
    /// A large batch has just been completed: those who were in it may be about to come back, and go together again.
    regroups: Option<Regroups>,
    /// No deadline of those who wait is earlier, so that thousands of them need not be looked at each time.
    first_deadline: Option<Moment>,
}

/// A short wait for as many changes as the last batch had.
#[derive(Debug)]
struct Regroups {
    changes: usize,
    /// Set by the first poll.
    until: Option<Moment>,
}

/// Who waits for a change, and until when.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    ticket: Option<Ticket>,
    deadline: Moment,
}

#[derive(Debug)]
struct InFlight {
    number: BatchNumber,
    command: Arc<Command>,
    /// One for each change of the command's batch.
    waiting: Vec<Waiting>,
    proposal: Proposal,
}

impl InFlight {
    fn changes(&self) -> &[SessionChange] {
        match &*self.command {
            Command::Batch(batch) => &batch.changes,
            _ => &[],
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Proposal {
    /// A proposal is on its way.
    Running,
    /// The leader says it is committed; this node has yet to apply it.
    Committed { ask_again: Moment },
    /// It failed, or nothing is known.
    Failed { propose_again: Moment },
}

impl Batcher {
    /// A batcher that waits for its node's registration.
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            incarnation: None,
            last_number: BatchNumber(0),
            at: UnixMillis(0),
            queue: VecDeque::new(),
            in_flight: None,
            regroups: None,
            first_deadline: None,
        }
    }

    /// Tells the time that batches carry from now on.
    pub fn tell_time(&mut self, at: UnixMillis) {
        self.at = at;
    }

    /// Changes that wait or are in flight.
    pub fn pending(&self) -> usize {
        self.queue.len() + self.in_flight.as_ref().map_or(0, |batch| batch.waiting.len())
    }

    /// Takes a change. Without a ticket nobody waits for it, and it has no deadline.
    pub fn submit(&mut self, change: SessionChange, ticket: Option<Ticket>, deadline: Moment) {
        if ticket.is_some() && self.first_deadline.is_none_or(|first| deadline < first) {
            self.first_deadline = Some(deadline);
        }
        self.queue.push_back((change, Waiting { ticket, deadline }));
    }

    /// The node is registered as `incarnation`: batches count from 1 again.
    pub fn registered(&mut self, incarnation: Incarnation, effects: &mut Vec<Effect>) {
        if self.incarnation == Some(incarnation) {
            return;
        }
        // What this node has not applied before it applied its own new start is refused whole from now on.
        self.fail_in_flight(effects);
        self.incarnation = Some(incarnation);
        self.last_number = BatchNumber(0);
    }

    /// The incarnation is over; its sessions are void, so nothing that waits makes sense any more.
    pub fn lapsed(&mut self, effects: &mut Vec<Effect>) {
        self.incarnation = None;
        self.fail_in_flight(effects);
        let waiting = self.queue.drain(..).filter_map(|(_, waiting)| waiting.ticket);
        effects.extend(waiting.map(|ticket| fail(ticket, ChangeError::Lapsed)));
        self.first_deadline = None;
    }

    /// A proposal has ended. `committed` is only a hint: the batch is complete when this node has applied it.
    pub fn proposal_ended(&mut self, number: BatchNumber, committed: bool, now: Moment) {
        if let Some(batch) = self.in_flight.as_mut().filter(|batch| batch.number == number) {
            let again = now + BATCH_RETRY;
            batch.proposal = if committed {
                Proposal::Committed { ask_again: again + BATCH_RETRY * 10 }
            } else {
                Proposal::Failed { propose_again: again }
            };
        }
    }

    /// This node has applied a batch of `node`; `epoch_of` gives the epoch of a position in it.
    pub fn applied(
        &mut self,
        outcome: &BatchOutcome,
        epoch_of: impl Fn(LogIndex, u32) -> Epoch,
        effects: &mut Vec<Effect>,
    ) {
        let ours = outcome.node == self.node && Some(outcome.incarnation) == self.incarnation;
        let Some(batch) = self.in_flight.take_if(|batch| ours && batch.number == outcome.number) else {
            return;
        };
        let mut refused = outcome.refused.iter().peekable();
        effects.reserve(batch.waiting.len());
        for (position, (change, waiting)) in (0..).zip(batch.changes().iter().zip(&batch.waiting)) {
            let rejection = refused.next_if(|(at, _)| *at == position).map(|(_, rejection)| *rejection);
            let epoch = match change.kind {
                ChangeKind::Open(_) => epoch_of(outcome.index, position),
                ChangeKind::Close(epoch) | ChangeKind::Update(epoch, _) => epoch,
            };
            let opened = Opened { epoch, index: outcome.index };
            self.complete(change, waiting.ticket, opened, rejection, effects);
        }
        let changes = batch.waiting.len();
        self.regroups = (changes >= BATCH_REGROUP_FROM).then_some(Regroups { changes, until: None });
        if self.queue.is_empty() {
            self.first_deadline = None;
        }
    }

    /// Passes time: gives up on what waited too long, and proposes what is due.
    pub fn poll(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.expire(now, effects);
        let Some(incarnation) = self.incarnation else {
            return;
        };
        let regroups = self.regroups(now);
        if self.in_flight.is_none() && !self.queue.is_empty() && !regroups {
            self.in_flight = Some(self.gather(incarnation));
        }
        if let Some(batch) = &mut self.in_flight {
            let due = match batch.proposal {
                Proposal::Running => false,
                Proposal::Committed { ask_again: at } | Proposal::Failed { propose_again: at } => at <= now,
            };
            if due {
                batch.proposal = Proposal::Running;
                effects.push(Effect::Propose(Arc::clone(&batch.command)));
            }
        }
    }

    /// How soon [`Self::poll`] has something to do, if nothing else happens; `None`: it has not.
    pub fn next_poll(&self, now: Moment) -> Option<Duration> {
        let retry = self.in_flight.as_ref().and_then(|batch| match batch.proposal {
            Proposal::Running => None,
            Proposal::Committed { ask_again: at } | Proposal::Failed { propose_again: at } => Some(at),
        });
        let regrouped = self.regroups.as_ref().and_then(|regroups| regroups.until);
        retry.into_iter().chain(regrouped).chain(self.first_deadline).min().map(|at| at.since(now))
    }

    /// Whether the next batch waits for more changes.
    fn regroups(&mut self, now: Moment) -> bool {
        let waits = self.regroups.as_mut().is_some_and(|regroups| {
            let until = *regroups.until.get_or_insert(now + BATCH_REGROUP);
            self.queue.len() < regroups.changes && now < until
        });
        if !waits {
            self.regroups = None;
        }
        waits
    }

    fn gather(&mut self, incarnation: Incarnation) -> InFlight {
        let (mut changes, mut waiting) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some((change, _)) = self.queue.front() {
            bytes += change.encoded_bytes();
            if changes.len() == BATCH_CHANGES || (bytes > BATCH_BYTES && !changes.is_empty()) {
                break;
            }
            let Some((change, waits)) = self.queue.pop_front() else { break };
            changes.push(change);
            waiting.push(waits);
        }
        let number = BatchNumber(self.last_number.0 + 1);
        self.last_number = number;
        let batch = Batch { node: self.node, incarnation, number, changes, at: self.at };
        let command = Arc::new(Command::Batch(batch));
        InFlight { number, command, waiting, proposal: Proposal::Failed { propose_again: Moment::default() } }
    }

    /// Tells those whose patience ended. The change itself stays: it may be committed already.
    fn expire(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.first_deadline.is_none_or(|first| now < first) {
            return;
        }
        let mut first = None;
        let mut stays = |waiting: &Waiting| match waiting.ticket {
            Some(ticket) if waiting.deadline <= now => {
                effects.push(fail(ticket, ChangeError::NoLeader { retry_after: BATCH_RETRY_AFTER }));
                false
            }
            Some(_) => {
                first = Some(first.map_or(waiting.deadline, |first| waiting.deadline.min(first)));
                true
            }
            None => true,
        };
        self.queue.retain(|(_, waiting)| stays(waiting));
        for waiting in self.in_flight.iter_mut().flat_map(|batch| &mut batch.waiting) {
            if !stays(waiting) {
                waiting.ticket = None;
            }
        }
        self.first_deadline = first;
    }

    fn complete(
        &mut self,
        change: &SessionChange,
        ticket: Option<Ticket>,
        done: Opened,
        rejection: Option<ChangeRejection>,
        effects: &mut Vec<Effect>,
    ) {
        match (ticket, rejection) {
            (Some(ticket), None) => effects.push(Effect::Complete(ticket, Completion::Done(done))),
            (Some(ticket), Some(rejection)) => effects.push(fail(ticket, rejection.into())),
            // Nobody waits for this session any more: it must not stay.
            (None, None) if matches!(change.kind, ChangeKind::Open(_)) => {
                let kind = ChangeKind::Close(done.epoch);
                self.submit(SessionChange { device: change.device.clone(), kind }, None, Moment::default());
            }
            (None, _) => {}
        }
    }

    fn fail_in_flight(&mut self, effects: &mut Vec<Effect>) {
        let waiting = self.in_flight.take().map(|batch| batch.waiting).unwrap_or_default();
        let tickets = waiting.into_iter().filter_map(|waiting| waiting.ticket);
        effects.extend(tickets.map(|ticket| fail(ticket, ChangeError::Lapsed)));
    }
}

fn fail(ticket: Ticket, error: ChangeError) -> Effect {
    Effect::Complete(ticket, Completion::Failed(error))
}
