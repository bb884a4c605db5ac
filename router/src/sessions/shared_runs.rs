//! Idempotent calls on this node's devices, behind a lock: who waits for which execution. The rules are `core::once`'s.

use std::sync::Arc;

use compact_str::CompactString;
use parking_lot::Mutex;
use rollcall_registry::model::ids::DeviceKey;
use tokio::time::Instant;

use super::{
    ending::{GiveUp, given_up},
    ticket::Place,
};
use crate::{
    core::{
        device::Spent,
        once::{Begun, Bounds, CallName, Ending, Left, Once, Refusal, Run, Seat},
    },
    delivery::{Answer, AnswerSink, ReplyTo},
    limits,
    outcome::{Failure, Outcome, Reason, Stage},
};

/// Bytes that an answer is reckoned with beside its payload: names, tables, queues.
const OVERHEAD_BYTES: u64 = 512;

/// An idempotent call on its device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RunKey {
    device: DeviceKey,
    request_id: CompactString,
}

/// All idempotent calls of this node's devices that run, or that have run not long ago.
pub(crate) struct SharedRuns {
    table: Mutex<Once<Arc<RunKey>, ReplyTo, Answer, Place>>,
}

/// What becomes of an idempotent call.
pub(crate) enum Entered {
    /// It is to be executed, for this waiter instead.
    Execute(Share, ReplyTo),
    /// It runs already.
    Joined(Share),
    /// It was answered.
    Answered,
    /// It cannot be taken.
    Refused(ReplyTo, Failure),
}

impl SharedRuns {
    pub(crate) fn new() -> Arc<Self> {
        let bounds = Bounds {
            bytes: limits::KEPT_REPLIES_BYTES,
            names: limits::KEPT_NAMES,
            age: limits::KEPT_FOR,
            waiters: limits::JOINED_CALLS,
        };
        Arc::new(Self { table: Mutex::new(Once::new(bounds)) })
    }

    /// An idempotent call to this device came.
    pub(crate) fn enter(self: &Arc<Self>, device: &DeviceKey, name: &CallName, reply: ReplyTo) -> Entered {
        let key = Arc::new(RunKey { device: device.clone(), request_id: name.request_id.clone() });
        let begun = self.table.lock().begin(Arc::clone(&key), name.digest, reply, Instant::now());
        let share = |run, seat| Share { runs: Arc::clone(self), key: Arc::clone(&key), run, seat };
        match begun {
            Begun::Execute(run, seat) => {
                let execution = Execution { runs: Arc::clone(self), key: Arc::clone(&key), run };
                Entered::Execute(share(run, seat), ReplyTo::Sink(Arc::new(execution), 0))
            }
            Begun::Joined(run, seat) => Entered::Joined(share(run, seat)),
            Begun::Replay(reply, answer) => {
                reply.send(replayed(answer));
                Entered::Answered
            }
            Begun::Refused(reply, refusal) => {
                Entered::Refused(reply, refused(refusal).on_device(device.device.clone()))
            }
        }
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&self) {
        self.table.lock().expire(Instant::now());
    }

    fn end(&self, key: &Arc<RunKey>, run: Run, ending: Ending<Answer>) -> Vec<(Seat, ReplyTo)> {
        self.table.lock().finish(key, run, ending, Instant::now())
    }
}

/// Takes the device's answer for all who wait for it.
struct Execution {
    runs: Arc<SharedRuns>,
    key: Arc<RunKey>,
    run: Run,
}

impl AnswerSink for Execution {
    fn answer(&self, _: u64, answer: Answer) {
        let ending = match &answer {
            Ok(reply) => Ending::Executed(answer.clone(), reply.payload.len() + OVERHEAD_BYTES),
            Err(failure) if failure.outcome == Outcome::Executed => {
                Ending::Executed(answer.clone(), failure.message.len() as u64 + OVERHEAD_BYTES)
            }
            Err(_) => Ending::Void,
        };
        for (_, reply) in self.runs.end(&self.key, self.run, ending) {
            reply.send(answer.clone());
        }
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        // Nobody, once it was answered.
        for (_, reply) in self.runs.end(&self.key, self.run, Ending::Void) {
            reply.send(Err(Failure::new(Reason::Internal, Outcome::Unknown, "the call's answer was lost")));
        }
    }
}

/// One waiter's part in an execution.
#[derive(Clone)]
pub(crate) struct Share {
    runs: Arc<SharedRuns>,
    key: Arc<RunKey>,
    run: Run,
    seat: Seat,
}

impl Share {
    /// The device has accepted the call there.
    pub(crate) fn started(&self, place: Place) {
        self.runs.table.lock().started(&self.key, self.run, place);
    }

    /// No device has accepted the call: all who have joined it meanwhile hear why. Returns the first one.
    pub(crate) fn not_started(&self, execution: ReplyTo, failure: &Failure) -> Option<ReplyTo> {
        let mut first = None;
        for (seat, reply) in self.runs.end(&self.key, self.run, Ending::Void) {
            if seat == self.seat {
                first = Some(reply);
            } else {
                reply.send(Err(failure.clone()));
            }
        }
        // Nobody is left for it to answer.
        drop(execution);
        first
    }

    /// The waiter gave up. The execution stops when nobody waits any more; when the waiter's whole node is gone, it
    /// goes on: the caller may ask again through another one.
    pub(crate) fn cancel(&self, why: GiveUp) {
        if why == GiveUp::Lost {
            return drop(self.runs.table.lock().vanish(&self.key, self.run, self.seat));
        }
        let left = self.runs.table.lock().leave(&self.key, self.run, self.seat);
        match left {
            Left::Over => {}
            Left::Others(reply) => {
                reply
                    .send(Err(given_up(why, Stage::Device, Outcome::Unknown)
                        .on_device(self.key.device.device.clone())))
            }
            // The device's session answers everybody who waits.
            Left::Last(place) => place.into_iter().for_each(|place| place.cancel(why)),
        }
    }
}

/// A kept answer: it took no time now.
fn replayed(answer: Answer) -> Answer {
    answer.map(|mut reply| {
        reply.spent = Spent::default();
        reply
    })
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Conflict => Failure::not_executed(
            Reason::RequestIdConflict,
            "the device knows the request id with another action or payload",
        ),
        Refusal::Lost => Failure::new(
            Reason::ReplyLost,
            Outcome::Executed,
            "the call ran before, and its reply was given up",
        ),
        Refusal::Crowded => {
            Failure::not_executed(Reason::Overloaded, "too many calls wait for the same execution")
        }
    }
}
