//! Where answers to the calls of one [`super::pipeline::Pipeline`] wait for its task: one wake-up for many of them.

use std::task::{Context, Waker};

use parking_lot::Mutex;

use crate::delivery::{Answer, AnswerSink};

/// Answers by the id of their call. Never more than calls in flight.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: Vec<(u64, Answer)>,
    waker: Option<Waker>,
}

impl Inbox {
    /// Moves all answers into `into`, which is empty; if there are none, the task is woken for the next.
    pub(super) fn take(&self, into: &mut Vec<(u64, Answer)>, cx: &Context<'_>) {
        let mut state = self.state.lock();
        if state.answers.is_empty() {
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                state.waker = Some(cx.waker().clone());
            }
        } else {
            std::mem::swap(&mut state.answers, into);
        }
    }
}

impl AnswerSink for Inbox {
    fn answer(&self, call_id: u64, answer: Answer) {
        let waker = {
            let mut state = self.state.lock();
            state.answers.push((call_id, answer));
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
