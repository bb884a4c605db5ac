//! Golden scripts and properties of a device's session: blocks of inputs, `---`, the effects.
//!
//! Inputs: `TIME call NAME DUE [now]` (`now`: must not wait), `TIME take NAME`, `TIME done NAME`, `TIME cancel NAME`,
//! `TIME tick`, `TIME slow`, `TIME eject`, `TIME back`, `capacity N`, `retire`, `end`. Times are milliseconds.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    time::Duration,
};

use proptest::prelude::*;
use tokio::time::Instant;

use super::{
    device::{Admitted, Cancelled, Device, Ended, Queueing, Taken},
    in_flight::Tag,
};

struct Script {
    start: Instant,
    device: Device<String, ()>,
    tags: HashMap<String, Tag>,
    names: HashMap<Tag, String>,
    effects: String,
}

impl Script {
    fn new(capacity: u32, queue: usize) -> Self {
        let (tags, names) = (HashMap::new(), HashMap::new());
        Self {
            start: Instant::now(),
            device: Device::new(capacity, queue),
            tags,
            names,
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
                let queueing = if rest.is_empty() { Queueing::Allowed } else { Queueing::Forbidden };
                self.call(name, self.at(due), queueing, now);
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

    fn call(&mut self, name: &str, due: Instant, queueing: Queueing, now: Instant) {
        match self.device.admit(name.to_owned(), || (), due, queueing, now) {
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
    let text = include_str!("scripts/device.txt");
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
    Call { due: u64, may_wait: bool },
    Take(usize),
    Done(usize),
    Cancel(usize),
    Tick,
    Eject,
    LetBack,
    Retire,
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
    ]
}

/// What the property test knows of a session.
struct Model {
    device: Device<usize, ()>,
    ready: Vec<Tag>,
    on_device: HashSet<Tag>,
    ended: HashMap<usize, u32>,
    tags: Vec<Tag>,
}

impl Model {
    fn end(&mut self, waiter: usize) {
        *self.ended.entry(waiter).or_default() += 1;
    }

    fn step(&mut self, number: usize, input: Input, now: Instant) {
        let mut ended = Vec::new();
        match input {
            Input::Call { due, may_wait } => {
                let queueing = if may_wait { Queueing::Allowed } else { Queueing::Forbidden };
                match self.device.admit(number, || (), now + Duration::from_millis(due), queueing, now) {
                    Ok(Admitted::Ready(tag)) => {
                        self.tags.push(tag);
                        self.ready.push(tag);
                    }
                    Ok(Admitted::Queued(tag)) => self.tags.push(tag),
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
