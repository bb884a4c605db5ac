//! A session without a connection: what it keeps, and what its device says of that when it comes back.

use super::{Device, Ended, Phase, Standing};
use crate::{
    core::{
        in_flight::{OnLoss, Tag},
        returned::{Fate, Returned},
        token::CallToken,
    },
    outcome::{Outcome, Stage},
};

/// A call whose fate a returning device has told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settled<W> {
    /// Who waited.
    pub(crate) waiter: W,
    /// What became of it: never [`Fate::Wait`].
    pub(crate) fate: Fate,
}

impl<W, C> Device<W, C> {
    /// The connection is lost, and the device may come back. It is given nothing new; calls that the transport has not
    /// taken end, those that the device may have wait for its return.
    pub(crate) fn suspend(&mut self, ended: &mut Vec<Ended<W>>) {
        if self.standing == Standing::Serving {
            self.standing = Standing::Suspended;
        }
        self.end_unsent(ended);
        let impatient: Vec<Tag> =
            self.calls.sent().filter(|entry| entry.on_loss == OnLoss::End).map(|entry| entry.tag()).collect();
        for tag in impatient {
            let waiter = self.remove(tag).and_then(|entry| entry.waiter);
            let (stage, outcome) = (Stage::Device, Outcome::Unknown);
            ended.extend(waiter.map(|waiter| Ended { waiter, stage, outcome, cancel: None }));
        }
        self.carried = self.calls.sent().map(|entry| (entry.token, entry.tag())).collect();
    }

    /// The device has come back to this session: it takes calls again.
    pub(crate) fn resume(&mut self) {
        if self.standing == Standing::Suspended {
            self.standing = Standing::Serving;
        }
    }

    /// The device has come back, to this session or to a newer one, and says which calls it has. Puts those that it
    /// settles into `settled`; returns those that nobody wants any more and that it still runs.
    pub(crate) fn settle(&mut self, returned: &Returned, settled: &mut Vec<Settled<W>>) -> Vec<CallToken> {
        let carried: Vec<(CallToken, Tag)> = self.carried.iter().map(|(token, tag)| (*token, *tag)).collect();
        let mut unwanted = Vec::new();
        for (token, tag) in carried {
            match returned.fate(token) {
                Fate::Wait => {
                    let entry = self.calls.get(tag);
                    if entry.is_some_and(|entry| matches!(entry.phase, Phase::Cancelling { .. })) {
                        unwanted.push(token);
                    }
                }
                fate @ (Fate::NeverBegan | Fate::ReplyLost) => {
                    self.carried.remove(&token);
                    let waiter = self.remove(tag).and_then(|entry| entry.waiter);
                    settled.extend(waiter.map(|waiter| Settled { waiter, fate }));
                }
            }
        }
        unwanted
    }

    /// The call of this name, if the device has it.
    pub(crate) fn tag_of(&self, token: CallToken) -> Option<Tag> {
        let carried = self.carried.get(&token).copied().filter(|tag| self.expects(*tag));
        // One of a connection that still stands: its device was faster than the news of its loss.
        carried.or_else(|| self.calls.sent().find(|entry| entry.token == token).map(|entry| entry.tag()))
    }

    /// The name of a call that the device knows by that alone, because its connection is not the one it came on.
    pub(crate) fn carried(&self, tag: Tag) -> Option<CallToken> {
        let token = self.calls.get(tag)?.token;
        self.carried.get(&token).filter(|carried| **carried == tag).map(|_| token)
    }

    /// The calls that the device was told of on an earlier connection and that have not ended.
    pub(crate) fn awaited(&self) -> Vec<CallToken> {
        self.carried.iter().filter(|(_, tag)| self.expects(**tag)).map(|(token, _)| *token).collect()
    }

    /// The device still runs so many calls of its former sessions: their places are taken.
    pub(crate) fn reserve(&mut self, calls: u32) {
        self.former += calls;
        self.occupied += calls;
    }

    /// One of them has ended.
    pub(crate) fn release(&mut self) {
        if self.former > 0 {
            self.former -= 1;
            self.occupied -= 1;
        }
    }
}
