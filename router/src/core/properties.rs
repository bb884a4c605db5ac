//! What holds of a device's session whatever comes: its capacity, one end for each call, and no word that is not true.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    device::{Admitted, Cancelled, Device, Ended, Queueing, Taken},
    golden::token,
    in_flight::{Named, OnLoss, Tag},
    returned::{Fate, Returned, Told},
    token::CallToken,
};
use crate::outcome::Outcome;

#[derive(Debug, Clone, Copy)]
enum Input {
    Call {
        due: u64,
        may_wait: bool,
    },
    Take(usize),
    Done(usize),
    Cancel(usize),
    Tick,
    Eject,
    LetBack,
    Retire,
    /// The connection is lost, and the device comes back: it got some of what was written, and remembers all of it.
    Flap {
        got: u64,
        finished: u64,
        gone: u64,
    },
}

fn inputs() -> impl Strategy<Value = Input> {
    prop_oneof![
        60 => (0..60u64, any::<bool>()).prop_map(|(due, may_wait)| Input::Call { due, may_wait }),
        60 => any::<usize>().prop_map(Input::Take),
        40 => any::<usize>().prop_map(Input::Done),
        20 => any::<usize>().prop_map(Input::Cancel),
        10 => Just(Input::Tick),
        2 => Just(Input::Eject),
        4 => Just(Input::LetBack),
        1 => Just(Input::Retire),
        3 => any::<(u64, u64, u64)>().prop_map(|(got, finished, gone)| Input::Flap { got, finished, gone }),
    ]
}

/// What the property test knows of a session.
struct Model {
    device: Device<usize, ()>,
    ready: Vec<Tag>,
    on_device: HashSet<Tag>,
    ended: HashMap<usize, u32>,
    tags: Vec<Tag>,
    /// By tag, the call's number, which is its waiter and its token.
    numbers: HashMap<Tag, usize>,
}

impl Model {
    fn flap(&mut self, number: usize, bits: [u64; 3], ended: &mut Vec<Ended<usize>>) {
        let [got, finished, gone] =
            bits.map(|bits| move |call: usize| bits >> ((call + number) % 64) & 1 == 1);
        self.device.suspend(ended);
        self.ready.clear();
        let told: Vec<(CallToken, Told)> = self
            .on_device
            .iter()
            .map(|tag| self.numbers[tag])
            .filter(|call| got(*call))
            .map(|call| {
                let told = match (finished(call), gone(call)) {
                    (true, true) => Told::Gone,
                    (true, false) => Told::Finished,
                    (false, _) => Told::Running,
                };
                (token(call as u64), told)
            })
            .collect();
        let returned = Returned::new(told.into_iter(), true);
        let mut settled = Vec::new();
        let unwanted = self.device.settle(&returned, &mut settled);
        for settled in settled {
            assert_eq!(settled.fate == Fate::NeverBegan, !got(settled.waiter), "NOT_EXECUTED must be true");
            self.end(settled.waiter);
        }
        assert!(unwanted.iter().all(|token| got(token.call as usize)));
        self.on_device.retain(|tag| {
            let call = self.numbers[tag];
            got(call) && !(finished(call) && gone(call))
        });
        self.device.resume();
    }

    /// The device may have the call of this waiter.
    fn has(&self, waiter: usize) -> bool {
        self.on_device.iter().any(|tag| self.numbers[tag] == waiter)
    }

    /// A call ends of which its caller is told `NOT_EXECUTED`.
    fn end_unsent(&mut self, waiter: usize) {
        assert!(!self.has(waiter), "NOT_EXECUTED must be true");
        self.end(waiter);
    }

    fn report(&mut self, ended: Vec<Ended<usize>>) {
        for Ended { waiter, outcome, .. } in ended {
            assert_eq!(outcome == Outcome::NotExecuted, !self.has(waiter), "what is told is what is known");
            self.end(waiter);
        }
    }

    fn end(&mut self, waiter: usize) {
        *self.ended.entry(waiter).or_default() += 1;
    }

    fn step(&mut self, number: usize, input: Input, now: Instant) {
        let mut ended = Vec::new();
        match input {
            Input::Call { due, may_wait } => {
                let queueing = if may_wait { Queueing::Allowed } else { Queueing::Forbidden };
                let deadline = now + Duration::from_millis(due);
                let named = Named { token: token(number as u64), deadline, on_loss: OnLoss::Wait };
                match self.device.admit(number, || (), named, queueing, now) {
                    Ok(Admitted::Ready(tag)) => {
                        self.tags.push(tag);
                        self.ready.push(tag);
                        self.numbers.insert(tag, number);
                    }
                    Ok(Admitted::Queued(tag)) => {
                        self.tags.push(tag);
                        self.numbers.insert(tag, number);
                    }
                    Err((waiter, _)) => self.end(waiter),
                }
            }
            Input::Take(at) if !self.ready.is_empty() => {
                let tag = self.ready.remove(at % self.ready.len());
                match self.device.take(tag, now) {
                    Taken::Call((), _) => drop(self.on_device.insert(tag)),
                    Taken::Late(waiter) => self.end_unsent(waiter),
                    Taken::Gone => {}
                }
            }
            // Any tag at all: the device may answer what it never got.
            Input::Done(at) if !self.tags.is_empty() => {
                let tag = self.tags[at % self.tags.len()];
                if let Some((waiter, _)) = self.device.finish(tag, now) {
                    assert!(self.on_device.contains(&tag), "only what was written is answered");
                    self.end(waiter);
                }
                self.on_device.remove(&tag);
            }
            Input::Cancel(at) if !self.tags.is_empty() => {
                match self.device.cancel(self.tags[at % self.tags.len()], now) {
                    Cancelled::Unsent(waiter, _) => self.end_unsent(waiter),
                    Cancelled::Sent(waiter) => self.end(waiter),
                    Cancelled::Gone => {}
                }
            }
            Input::Tick => self.device.expire(now, &mut ended),
            Input::Eject => self.device.eject(&mut ended),
            Input::LetBack => self.device.let_back(now),
            Input::Retire => self.device.retire(&mut ended),
            Input::Flap { got, finished, gone } => self.flap(number, [got, finished, gone], &mut ended),
            Input::Take(_) | Input::Done(_) | Input::Cancel(_) => {}
        }
        while let Some(tag) = self.device.promote(now, &mut ended) {
            self.ready.push(tag);
        }
        self.report(ended);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_device_is_above_its_capacity_and_every_call_ends_exactly_once_and_honestly(
        capacity in 1..4u32, queue in 0..4usize, inputs in prop::collection::vec(inputs(), 1..200),
    ) {
        let start = Instant::now();
        let device = Device::new(capacity, queue);
        let mut model = Model {
            device, ready: Vec::new(), on_device: HashSet::new(), ended: HashMap::new(), tags: Vec::new(),
            numbers: HashMap::new(),
        };
        let mut calls = 0;
        for (number, input) in inputs.into_iter().enumerate() {
            calls += usize::from(matches!(input, Input::Call { .. }));
            model.step(number, input, start + Duration::from_millis(number as u64 * 3));
            prop_assert!(model.on_device.len() <= capacity as usize, "above capacity");
            prop_assert!(model.device.occupied() <= capacity);
            prop_assert!(model.device.queued() <= queue, "queue above its bound");
        }
        let mut ended = Vec::new();
        model.device.end(&mut ended);
        model.report(ended);
        prop_assert_eq!(model.device.calls(), 0);
        prop_assert_eq!(model.ended.len(), calls, "a call has no end");
        prop_assert!(model.ended.values().all(|ends| *ends == 1), "a call ended twice");
    }
}
