//! What is to be done once a connection's lock is released: answers, wake-ups, and work for the host.

use std::task::Waker;

use super::host::Request;
use crate::delivery::{Answer, ReplyTo};

/// Collects effects under a connection's lock. One answer, the usual case, costs no allocation.
#[derive(Default)]
pub(crate) struct After {
    first: Option<(ReplyTo, Answer)>,
    more: Vec<(ReplyTo, Answer)>,
    /// Of the transport's writer.
    pub(crate) waker: Option<Waker>,
    /// For the host.
    pub(crate) requests: Vec<Request>,
}

impl After {
    pub(crate) fn answer(&mut self, reply: ReplyTo, answer: Answer) {
        if self.first.is_none() {
            self.first = Some((reply, answer));
        } else {
            self.more.push((reply, answer));
        }
    }

    /// Hands the answers over and wakes the writer; leaves the host's requests to the caller.
    pub(crate) fn run(self) -> Vec<Request> {
        if let Some(waker) = self.waker {
            waker.wake();
        }
        for (reply, answer) in self.first.into_iter().chain(self.more) {
            reply.send(answer);
        }
        self.requests
    }
}
