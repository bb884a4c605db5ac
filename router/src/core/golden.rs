//! Golden scripts and properties of a device's session: blocks of inputs, `---`, the effects.
//!
//! Inputs: `TIME call NAME DUE [now] [elsewhere]` (`now`: must not wait; `elsewhere`: need not wait for this device's
//! return), `TIME take NAME`, `TIME done NAME`, `TIME cancel NAME`, `TIME tick`, `TIME slow`, `TIME eject`, `TIME back`,
//! `capacity N`, `retire`, `end`, `suspend`, `resume`, `return all|some [running|finished|gone NAME]...`. Times are
//! milliseconds.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use rollcall_registry::model::ids::{Incarnation, NodeId};

use super::{
    device::{Admitted, Cancelled, Device, Ended, Queueing, Taken},
    in_flight::{Named, OnLoss, Tag},
    returned::{Fate, Returned, Told},
    token::CallToken,
};

fn token(call: u64) -> CallToken {
    CallToken { origin: NodeId(1), incarnation: Incarnation(1), call }
}

struct Script {
    start: Instant,
    device: Device<String, ()>,
    tags: HashMap<String, Tag>,
    names: HashMap<Tag, String>,
    tokens: HashMap<String, u64>,
    effects: String,
}

impl Script {
    fn new(capacity: u32, queue: usize) -> Self {
        Self {
            start: Instant::now(),
            device: Device::new(capacity, queue),
            tags: HashMap::new(),
            names: HashMap::new(),
            tokens: HashMap::new(),
            effects: String::new(),
        }
    }

    fn say(&mut self, effect: std::fmt::Arguments<'_>) {
        writeln!(self.effects, "{effect}").expect("a string takes all");
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["capacity", capacity] => self.device.set_capacity(capacity.parse().expect("a number")),
            ["retire"] => self.ended(|device, ended| device.retire(ended)),
            ["end"] => self.ended(|device, ended| device.end(ended)),
            ["suspend"] => self.ended(|device, ended| device.suspend(ended)),
            ["resume"] => self.device.resume(),
            ["return", all, ref lists @ ..] => self.settle(all == "all", lists),
            [time, ..] => {
                let now = self.at(time);
                self.timed(now, &words[1..]);
                self.promote(now);
            }
            [] => {}
        }
    }

    fn at(&self, time: &str) -> Instant {
        self.start + Duration::from_millis(time.parse().expect("a time"))
    }

    fn timed(&mut self, now: Instant, words: &[&str]) {
        match *words {
            ["call", name, due, ref rest @ ..] => {
                let queueing = if rest.contains(&"now") { Queueing::Forbidden } else { Queueing::Allowed };
                let on_loss = if rest.contains(&"elsewhere") { OnLoss::End } else { OnLoss::Wait };
                let named = Named { token: self.token(name), deadline: self.at(due), on_loss };
                self.call(name, named, queueing, now);
            }
            ["take", name] => match self.device.take(self.tags[name], now) {
                Taken::Call((), left) => {
                    self.say(format_args!("written {name}, {} ms left", left.as_millis()))
                }
                Taken::Late(name) => self.say(format_args!("late {name} at write")),
                Taken::Gone => self.say(format_args!("nothing to write")),
            },
            ["done", name] => match self.device.finish(self.tags[name], now) {
                Some((name, spent)) => self.say(format_args!(
                    "answered {name}: queue {}, write {}, device {}",
                    spent.queue.as_millis(),
                    spent.write.as_millis(),
                    spent.device.as_millis()
                )),
                None => self.say(format_args!("nobody waits")),
            },
            ["cancel", name] => match self.device.cancel(self.tags[name], now) {
                Cancelled::Gone => self.say(format_args!("over already")),
                Cancelled::Unsent(name, stage) => {
                    self.say(format_args!("{name} was never sent, it stood at {}", stage.as_str()));
                }
                Cancelled::Sent(name) => self.say(format_args!("tell the device to cancel {name}")),
            },
            ["slow"] => self.device.start_slowly(now),
            ["eject"] => self.ended(Device::eject),
            ["back"] => self.device.let_back(now),
            ["tick"] => self.ended(|device, ended| device.expire(now, ended)),
            _ => panic!("unknown input {words:?}"),
        }
    }

    fn token(&mut self, name: &str) -> CallToken {
        let next = self.tokens.len() as u64;
        token(*self.tokens.entry(name.to_owned()).or_insert(next))
    }

    fn settle(&mut self, lists_all: bool, lists: &[&str]) {
        let told = lists.chunks(2).map(|pair| {
            let told = match pair[0] {
                "running" => Told::Running,
                "finished" => Told::Finished,
                "gone" => Told::Gone,
                other => panic!("unknown list {other}"),
            };
            (self.token(pair[1]), told)
        });
        let returned = Returned::new(told.collect::<Vec<_>>().into_iter(), lists_all);
        let mut settled = Vec::new();
        let mut unwanted = self.device.settle(&returned, &mut settled);
        unwanted.sort_unstable();
        settled.sort_by(|a, b| a.waiter.cmp(&b.waiter));
        for settled in settled {
            self.say(format_args!("settled {}: {:?}", settled.waiter, settled.fate));
        }
        for token in unwanted {
            let name =
                self.tokens.iter().find(|(_, call)| **call == token.call).expect("it has a name").0.clone();
            self.say(format_args!("tell the device to cancel {name} by its token"));
        }
    }

    fn call(&mut self, name: &str, named: Named, queueing: Queueing, now: Instant) {
        match self.device.admit(name.to_owned(), || (), named, queueing, now) {
            Ok(admitted) => {
                let (Admitted::Ready(tag) | Admitted::Queued(tag)) = admitted;
                self.tags.insert(name.to_owned(), tag);
                self.names.insert(tag, name.to_owned());
                let standing = if matches!(admitted, Admitted::Ready(_)) { "ready" } else { "queued" };
                self.say(format_args!("{standing} {name}"));
            }
            Err((name, refusal)) => self.say(format_args!("refused {name}: {refusal:?}")),
        }
    }

    fn promote(&mut self, now: Instant) {
        loop {
            let mut ended = Vec::new();
            let promoted = self.device.promote(now, &mut ended);
            self.report(ended);
            let Some(tag) = promoted else { return };
            let name = self.names[&tag].clone();
            self.say(format_args!("ready {name}"));
        }
    }

    fn ended(&mut self, step: impl FnOnce(&mut Device<String, ()>, &mut Vec<Ended<String>>)) {
        let mut ended = Vec::new();
        step(&mut self.device, &mut ended);
        self.report(ended);
    }

    fn report(&mut self, ended: Vec<Ended<String>>) {
        for Ended { waiter, stage, outcome, cancel } in ended {
            let told = if cancel.is_some() { ", tell the device" } else { "" };
            self.say(format_args!("ended {waiter} at {}, {outcome}{told}", stage.as_str()));
        }
    }
}

#[test]
fn a_devices_session_follows_its_script() {
    follow(include_str!("scripts/device.txt"));
}

#[test]
fn a_lost_session_follows_its_script() {
    follow(include_str!("scripts/absence.txt"));
}

fn follow(text: &str) {
    let mut script = Script::new(1, 2);
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let (inputs, expected) = block.split_once("---").expect("inputs, ---, effects");
        let inputs: Vec<&str> = inputs.lines().filter(|line| !line.starts_with('#')).collect();
        if let Some(["device", capacity, queue]) =
            inputs.first().map(|line| line.split_whitespace().collect::<Vec<_>>()).as_deref()
        {
            script = Script::new(capacity.parse().expect("a number"), queue.parse().expect("a number"));
        } else {
            inputs.iter().for_each(|line| script.run(line));
        }
        assert_eq!(
            std::mem::take(&mut script.effects).trim(),
            expected.trim(),
            "after:\n{}",
            inputs.join("\n")
        );
    }
}

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
                    Taken::Late(waiter) => self.end(waiter),
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
                    Cancelled::Unsent(waiter, _) | Cancelled::Sent(waiter) => self.end(waiter),
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
        ended.into_iter().for_each(|ended| self.end(ended.waiter));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_device_is_above_its_capacity_and_every_call_ends_exactly_once(
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
        ended.into_iter().for_each(|ended| model.end(ended.waiter));
        prop_assert_eq!(model.device.calls(), 0);
        prop_assert_eq!(model.ended.len(), calls, "a call has no end");
        prop_assert!(model.ended.values().all(|ends| *ends == 1), "a call ended twice");
    }
}
