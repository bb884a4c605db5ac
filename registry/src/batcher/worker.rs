//! Runs the batcher: one task that owns its state, its channels and the one proposal in flight.

use std::{future::Future, pin::Pin, sync::Arc};

use hashbrown::HashMap;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

use super::{
    core::{Batcher, Completion, Effect, Ticket},
    handle::BatcherHandle,
    message::{LogNews, Submission},
};
use crate::{
    clock::{Moment, unix_now},
    limits::{BATCH_CHANGES, BATCH_QUEUE, BATCH_TICK, CLOSE_QUEUE},
    model::{
        command::{ChangeKind, Command, SessionChange},
        ids::{BatchNumber, DeviceKey, Epoch, LogIndex, NodeId},
    },
};

/// Commits a command through the leader; whether it is known to be committed.
pub(crate) type Propose = Arc<dyn Fn(Arc<Command>) -> Proposal + Send + Sync>;
/// A proposal on its way.
pub(crate) type Proposal = Pin<Box<dyn Future<Output = bool> + Send>>;
/// The epoch of a position in an entry.
pub(crate) type EpochOf = Arc<dyn Fn(LogIndex, u32) -> Epoch + Send + Sync>;

/// Starts the worker for `node`. It ends when every handle is gone.
pub(crate) fn spawn(node: NodeId, propose: Propose, epoch_of: EpochOf) -> (BatcherHandle, AbortHandle) {
    let (submissions, submitted) = mpsc::channel(BATCH_QUEUE);
    let (closes, closed) = mpsc::channel(CLOSE_QUEUE);
    let (news, told) = mpsc::unbounded_channel();
    let worker = Worker {
        core: Batcher::new(node),
        waiting: HashMap::new(),
        last_ticket: 0,
        proposal: None,
        effects: Vec::new(),
        propose,
        epoch_of,
    };
    let task = tokio::spawn(worker.run(submitted, closed, told)).abort_handle();
    (BatcherHandle { submissions, closes, news }, task)
}

struct Worker {
    core: Batcher,
    waiting: HashMap<Ticket, Waiter>,
    last_ticket: u64,
    proposal: Option<(BatchNumber, Proposal)>,
    effects: Vec<Effect>,
    propose: Propose,
    epoch_of: EpochOf,
}

struct Waiter {
    answer: oneshot::Sender<Completion>,
    /// Set for an open: what to close if nobody waits for it any more.
    opens: Option<DeviceKey>,
}

impl Worker {
    async fn run(
        mut self,
        mut submitted: mpsc::Receiver<Submission>,
        mut closed: mpsc::Receiver<SessionChange>,
        mut told: mpsc::UnboundedReceiver<LogNews>,
    ) {
        let mut submissions = Vec::new();
        let mut closes = Vec::new();
        loop {
            let now = Moment::now();
            let nap = self.core.next_poll(now).unwrap_or(std::time::Duration::from_secs(3_600));
            // While a batch is in flight, the next one gathers in the channels, where their bounds hold.
            let room = self.core.pending() < 2 * BATCH_CHANGES;
            tokio::select! {
                biased;
                Some(news) = told.recv() => self.told(news),
                committed = Self::ended(&mut self.proposal) => self.proposal_ended(committed),
                count = submitted.recv_many(&mut submissions, BATCH_CHANGES), if room => {
                    if count == 0 {
                        return;
                    }
                    self.submit(&mut submissions);
                    // Or a storm of opens would leave no turn for closes.
                    self.close_some(&mut closed);
                }
                count = closed.recv_many(&mut closes, BATCH_CHANGES), if room => {
                    if count == 0 {
                        return;
                    }
                    for change in closes.drain(..) {
                        self.core.submit(change, None, Moment::default());
                    }
                }
                () = tokio::time::sleep(nap.max(BATCH_TICK)) => {}
            }
            self.core.tell_time(unix_now());
            self.core.poll(Moment::now(), &mut self.effects);
            self.carry_out();
        }
    }

    fn submit(&mut self, submissions: &mut Vec<Submission>) {
        for submission in submissions.drain(..) {
            self.last_ticket += 1;
            let ticket = Ticket(self.last_ticket);
            let opens = matches!(submission.change.kind, ChangeKind::Open(_));
            let opens = opens.then(|| submission.change.device.clone());
            self.waiting.insert(ticket, Waiter { answer: submission.answer, opens });
            self.core.submit(submission.change, Some(ticket), submission.deadline);
        }
    }

    fn close_some(&mut self, closed: &mut mpsc::Receiver<SessionChange>) {
        for _ in 0..BATCH_CHANGES {
            let Ok(change) = closed.try_recv() else { return };
            self.core.submit(change, None, Moment::default());
        }
    }

    fn told(&mut self, news: LogNews) {
        match news {
            LogNews::Registered(incarnation) => self.core.registered(incarnation, &mut self.effects),
            LogNews::Lapsed => self.core.lapsed(&mut self.effects),
            LogNews::Applied(outcome) => {
                let epoch_of = Arc::clone(&self.epoch_of);
                self.core.applied(&outcome, |index, at| epoch_of(index, at), &mut self.effects);
            }
        }
    }

    /// Resolves when the proposal in flight has ended; never without one.
    async fn ended(proposal: &mut Option<(BatchNumber, Proposal)>) -> bool {
        match proposal {
            Some((_, running)) => running.await,
            None => std::future::pending().await,
        }
    }

    fn proposal_ended(&mut self, committed: bool) {
        if let Some((number, _)) = self.proposal.take() {
            self.core.proposal_ended(number, committed, Moment::now());
        }
    }

    fn carry_out(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Propose(command) => {
                    if let Command::Batch(batch) = &*command {
                        metrics::histogram!(crate::metrics::BATCH_CHANGES).record(batch.changes.len() as f64);
                        self.proposal = Some((batch.number, (self.propose)(Arc::clone(&command))));
                    }
                }
                Effect::Complete(ticket, completion) => {
                    if let Some(waiter) = self.waiting.remove(&ticket) {
                        self.complete(waiter, completion);
                    }
                }
            }
        }
    }

    fn complete(&mut self, waiter: Waiter, completion: Completion) {
        let Err(unheard) = waiter.answer.send(completion) else {
            return;
        };
        // The device left while it was being opened: its session must not stay.
        if let (Completion::Done(opened), Some(device)) = (unheard, waiter.opens) {
            let close = SessionChange { device, kind: ChangeKind::Close(opened.epoch) };
            self.core.submit(close, None, Moment::default());
        }
    }
}
