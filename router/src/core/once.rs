//! De-duplication of idempotent calls: under one name a call runs once at a time, and its answer is kept for a while.
//!
//! `K` names a call on its device, `W` waits for an answer, `A` is an answer, `H` is what stops the execution.

use std::{collections::VecDeque, hash::Hash, time::Duration};

use compact_str::CompactString;
use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Tells calls under the same request id apart: half of a SHA-256.
pub(crate) type Digest = [u8; 16];

/// What a caller says of an idempotent call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallName {
    /// The caller's name for the call.
    pub(crate) request_id: CompactString,
    /// Of its action and payload.
    pub(crate) digest: Digest,
}

impl CallName {
    /// The name of a call with this action and these parts of a payload.
    pub(crate) fn new<'a>(request_id: &str, action: &str, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        // The length keeps (ab, c) and (a, bc) apart.
        hash.update((action.len() as u64).to_be_bytes());
        hash.update(action.as_bytes());
        parts.for_each(|part| hash.update(part));
        let whole: [u8; 32] = hash.finalize().into();
        let mut digest = Digest::default();
        digest.copy_from_slice(&whole[..16]);
        Self { request_id: request_id.into(), digest }
    }
}

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of all kept answers. Beyond it the oldest is given up, and remembered as lost.
    pub(crate) bytes: u64,
    /// Names that are remembered after their execution. Beyond it the oldest is forgotten.
    pub(crate) names: usize,
    /// How long a name is remembered after its execution.
    pub(crate) age: Duration,
    /// Calls that wait for one execution, the first included.
    pub(crate) waiters: usize,
}

/// Names one execution: a later one under the same name has another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Run(u64);

/// Names a waiter of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(u64);

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begun<W, A> {
    /// Execute it.
    Execute(Run, Seat),
    /// It runs: the answer will come.
    Joined(Run, Seat),
    /// It ran: this is the answer.
    Replay(W, A),
    /// Neither.
    Refused(W, Refusal),
}

/// Why a call is neither executed nor answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The name belongs to another action or payload.
    Conflict,
    /// It was executed, and its answer was given up.
    Lost,
    /// Too many wait for the same execution.
    Crowded,
}

/// What is left when a waiter gives up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Left<W, H> {
    /// The execution has ended: the answer came.
    Over,
    /// Others still wait.
    Others(W),
    /// Nobody else waits: the execution is to be stopped, which answers the waiter.
    Last(Option<H>),
}

/// How an execution ended.
#[derive(Debug)]
pub(crate) enum Ending<A> {
    /// It took place; the answer is kept, and weighs this many bytes.
    Executed(A, u64),
    /// It did not, or nobody knows: the next call under the name is a new one.
    Void,
}

#[derive(Debug)]
enum Stage<W, A, H> {
    Running { waiters: Vec<(Seat, W)>, handle: Option<H> },
    Kept(A, u64),
    Lost,
}

#[derive(Debug)]
struct Entry<W, A, H> {
    digest: Digest,
    run: Run,
    stage: Stage<W, A, H>,
}

/// The names of calls that run, or that have run not long ago.
#[derive(Debug)]
pub(crate) struct Once<K, W, A, H> {
    bounds: Bounds,
    entries: HashMap<K, Entry<W, A, H>>,
    /// Those that have run, oldest first, and until when they are remembered.
    past: VecDeque<(K, Run, Instant)>,
    /// Those of them whose answers are kept, oldest first.
    answers: VecDeque<(K, Run)>,
    bytes: u64,
    last: u64,
}

impl<K: Clone + Eq + Hash, W, A: Clone, H: Clone> Once<K, W, A, H> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let (past, answers) = (VecDeque::new(), VecDeque::new());
        Self { bounds, entries: HashMap::new(), past, answers, bytes: 0, last: 0 }
    }

    /// An idempotent call came.
    pub(crate) fn begin(&mut self, key: K, digest: Digest, waiter: W, now: Instant) -> Begun<W, A> {
        self.expire(now);
        self.last += 1;
        let seat = Seat(self.last);
        let Some(entry) = self.entries.get_mut(&key) else {
            let run = Run(self.last);
            let stage = Stage::Running { waiters: vec![(seat, waiter)], handle: None };
            self.entries.insert(key, Entry { digest, run, stage });
            return Begun::Execute(run, seat);
        };
        if entry.digest != digest {
            return Begun::Refused(waiter, Refusal::Conflict);
        }
        match &mut entry.stage {
            Stage::Running { waiters, .. } if waiters.len() >= self.bounds.waiters => {
                Begun::Refused(waiter, Refusal::Crowded)
            }
            Stage::Running { waiters, .. } => {
                waiters.push((seat, waiter));
                Begun::Joined(entry.run, seat)
            }
            Stage::Kept(answer, _) => Begun::Replay(waiter, answer.clone()),
            Stage::Lost => Begun::Refused(waiter, Refusal::Lost),
        }
    }

    /// The execution is under way, and this stops it.
    pub(crate) fn started(&mut self, key: &K, run: Run, stop: H) {
        if let Some(Stage::Running { handle, .. }) = self.stage(key, run) {
            *handle = Some(stop);
        }
    }

    /// An execution ended: who waits for it.
    pub(crate) fn finish(&mut self, key: &K, run: Run, ending: Ending<A>, now: Instant) -> Vec<(Seat, W)> {
        let Some(stage @ Stage::Running { .. }) = self.stage(key, run) else { return Vec::new() };
        let Stage::Running { waiters, .. } = std::mem::replace(stage, Stage::Lost) else { return Vec::new() };
        match ending {
            Ending::Void => drop(self.entries.remove(key)),
            Ending::Executed(answer, bytes) => {
                *stage = Stage::Kept(answer, bytes);
                self.bytes += bytes;
                self.answers.push_back((key.clone(), run));
                self.past.push_back((key.clone(), run, now + self.bounds.age));
                self.shrink();
            }
        }
        waiters
    }

    /// A waiter gives up.
    pub(crate) fn leave(&mut self, key: &K, run: Run, seat: Seat) -> Left<W, H> {
        let Some(Stage::Running { waiters, handle }) = self.stage(key, run) else { return Left::Over };
        let Some(at) = waiters.iter().position(|(other, _)| *other == seat) else { return Left::Over };
        if waiters.len() == 1 { Left::Last(handle.clone()) } else { Left::Others(waiters.swap_remove(at).1) }
    }

    /// A waiter is gone without a word: the execution goes on, so that the same call by another way finds its answer.
    pub(crate) fn vanish(&mut self, key: &K, run: Run, seat: Seat) -> Option<W> {
        let Some(Stage::Running { waiters, .. }) = self.stage(key, run) else { return None };
        let at = waiters.iter().position(|(other, _)| *other == seat)?;
        Some(waiters.swap_remove(at).1)
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.past.front().is_some_and(|(_, _, until)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn stage(&mut self, key: &K, run: Run) -> Option<&mut Stage<W, A, H>> {
        self.entries.get_mut(key).filter(|entry| entry.run == run).map(|entry| &mut entry.stage)
    }

    fn shrink(&mut self) {
        while self.past.len() > self.bounds.names {
            self.forget_oldest();
        }
        while self.bytes > self.bounds.bytes
            && let Some((key, run)) = self.answers.pop_front()
        {
            if let Some(stage @ Stage::Kept(..)) = self.stage(&key, run)
                && let Stage::Kept(_, bytes) = std::mem::replace(stage, Stage::Lost)
            {
                self.bytes -= bytes;
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, run, _)) = self.past.pop_front() else { return };
        // Both queues are in the order of endings.
        if self.answers.front().is_some_and(|(_, oldest)| *oldest == run) {
            self.answers.pop_front();
        }
        if let Some(Stage::Kept(_, bytes)) = self.stage(&key, run) {
            self.bytes -= *bytes;
            self.entries.remove(&key);
        } else if let Some(Stage::Lost) = self.stage(&key, run) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
