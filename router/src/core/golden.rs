//! Golden scripts of a device's session: blocks of inputs, `---`, the effects.
//!
//! Inputs: `TIME call NAME DUE [now] [elsewhere]` (`now`: must not wait; `elsewhere`: need not wait for this device's
//! return), `TIME take NAME`, `TIME done NAME`, `TIME cancel NAME`, `TIME tick`, `TIME slow`, `TIME eject`, `TIME back`,
//! `capacity N`, `retire`, `end`, `suspend`, `resume`, `return all|some [running|finished|gone NAME]...`. Times are
//! milliseconds.

use std::{collections::HashMap, fmt::Write, time::Duration};

use tokio::time::Instant;

use rollcall_registry::model::ids::{Incarnation, NodeId};

use super::{
    device::{Admitted, Cancelled, Device, Ended, Queueing, Taken},
    in_flight::{Named, OnLoss, Tag},
    returned::{Returned, Told},
    token::CallToken,
};

pub(super) fn token(call: u64) -> CallToken {
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
