//! Golden script and properties of the de-duplication.

use std::{collections::HashMap, fmt::Write as _};

use proptest::prelude::*;

use super::*;

type Table = Once<String, String, String, String>;

fn bounds() -> Bounds {
    Bounds { bytes: 100, names: 3, age: Duration::from_millis(1_000), waiters: 3 }
}

fn digest(payload: u8) -> Digest {
    [payload; 16]
}

struct Script {
    start: Instant,
    table: Table,
    seats: HashMap<String, (String, Run, Seat)>,
    runs: HashMap<String, Run>,
    effects: String,
}

impl Script {
    fn new() -> Self {
        let (seats, runs) = (HashMap::new(), HashMap::new());
        Self { start: Instant::now(), table: Table::new(bounds()), seats, runs, effects: String::new() }
    }

    fn say(&mut self, effect: std::fmt::Arguments<'_>) {
        writeln!(self.effects, "{effect}").expect("a string takes all");
    }

    fn run(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = |time: &str| self.start + Duration::from_millis(time.parse().expect("a time"));
        match words[..] {
            [time, "call", waiter, key, payload] => {
                let (payload, now) = (payload.as_bytes()[0], at(time));
                self.call(waiter, key, payload, now);
            }
            [_, "started", key] => self.table.started(&key.to_owned(), self.runs[key], format!("stop {key}")),
            [time, "executed", key, bytes] => {
                let ending = Ending::Executed(format!("answer of {key}"), bytes.parse().expect("bytes"));
                let ended = self.table.finish(&key.to_owned(), self.runs[key], ending, at(time));
                self.answered(ended);
            }
            [time, "void", key] => {
                let ended = self.table.finish(&key.to_owned(), self.runs[key], Ending::Void, at(time));
                self.answered(ended);
            }
            [_, "leave", waiter] => {
                let (key, run, seat) = self.seats[waiter].clone();
                match self.table.leave(&key, run, seat) {
                    Left::Over => self.say(format_args!("too late")),
                    Left::Others(waiter) => self.say(format_args!("{waiter} leaves the others")),
                    Left::Last(stop) => self.say(format_args!("{}", stop.unwrap_or_default())),
                }
            }
            [_, "vanish", waiter] => {
                let (key, run, seat) = self.seats[waiter].clone();
                let gone = self.table.vanish(&key, run, seat);
                self.say(format_args!("{} is gone", gone.unwrap_or_default()));
            }
            _ => panic!("unknown input {line:?}"),
        }
    }

    fn call(&mut self, waiter: &str, key: &str, payload: u8, now: Instant) {
        let (run, seat) = match self.table.begin(key.to_owned(), digest(payload), waiter.to_owned(), now) {
            Begun::Execute(run, seat) => {
                self.say(format_args!("execute {key}"));
                (run, seat)
            }
            Begun::Joined(run, seat) => {
                self.say(format_args!("{waiter} joins"));
                (run, seat)
            }
            Begun::Replay(waiter, answer) => return self.say(format_args!("{waiter} gets the {answer}")),
            Begun::Refused(waiter, refusal) => {
                return self.say(format_args!("{waiter} is refused: {refusal:?}"));
            }
        };
        self.runs.insert(key.to_owned(), run);
        self.seats.insert(waiter.to_owned(), (key.to_owned(), run, seat));
    }

    fn answered(&mut self, waiters: Vec<(Seat, String)>) {
        let names: Vec<_> = waiters.into_iter().map(|(_, waiter)| waiter).collect();
        self.say(format_args!("answers [{}]", names.join(" ")));
    }
}

#[test]
fn the_de_duplication_follows_its_script() {
    let mut script = Script::new();
    for block in include_str!("../scripts/once.txt").split("\n\n").map(str::trim) {
        let (inputs, expected) = block.split_once("---").expect("inputs, ---, effects");
        let inputs: Vec<&str> = inputs.lines().filter(|line| !line.starts_with('#')).collect();
        inputs.iter().for_each(|line| script.run(line));
        let effects = std::mem::take(&mut script.effects);
        assert_eq!(effects.trim(), expected.trim(), "after:\n{}", inputs.join("\n"));
    }
}

#[test]
fn a_name_is_bound_to_action_and_payload() {
    let name = |action, parts: &[&'static [u8]]| CallName::new("r", action, parts.iter().copied()).digest;
    assert_eq!(name("a", &[b"xy", b"z"]), name("a", &[b"x", b"yz"]), "however it is cut");
    assert_ne!(name("a", &[b"xyz"]), name("b", &[b"xyz"]));
    assert_ne!(name("ab", &[b"c"]), name("a", &[b"bc"]));
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Call { key: u8, payload: u8 },
    Executed(u8, u64),
    Void(u8),
    Leave(usize),
    Vanish(usize),
    Pass(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        8 => (0..4u8, 0..3u8).prop_map(|(key, payload)| Input::Call { key, payload }),
        4 => (0..4u8, 0..60u64).prop_map(|(key, bytes)| Input::Executed(key, bytes)),
        1 => (0..4u8).prop_map(Input::Void),
        2 => any::<usize>().prop_map(Input::Leave),
        1 => any::<usize>().prop_map(Input::Vanish),
        1 => (0..700u64).prop_map(Input::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_answer_is_only_given_to_its_own_digest_and_within_the_bounds(
        inputs in prop::collection::vec(input(), 1..120),
    ) {
        let mut now = Instant::now();
        // Waiters and answers carry the digest that they belong to.
        let mut table = Once::<u8, (u32, u8), u8, ()>::new(bounds());
        let mut running: HashMap<u8, (Run, u8)> = HashMap::new();
        let mut seats: Vec<(u8, Run, Seat)> = Vec::new();
        let (mut came, mut ended) = (0_u32, std::collections::HashSet::new());
        for input in inputs {
            match input {
                Input::Call { key, payload } => {
                    came += 1;
                    match table.begin(key, digest(payload), (came, payload), now) {
                        Begun::Execute(run, seat) => {
                            prop_assert!(running.insert(key, (run, payload)).is_none(), "runs twice at a time");
                            seats.push((key, run, seat));
                        }
                        Begun::Joined(run, seat) => {
                            prop_assert_eq!(running.get(&key), Some(&(run, payload)));
                            seats.push((key, run, seat));
                        }
                        Begun::Replay((waiter, digest), answer) => {
                            prop_assert_eq!(digest, answer, "the answer of another call");
                            prop_assert!(ended.insert(waiter));
                        }
                        Begun::Refused((waiter, _), _) => prop_assert!(ended.insert(waiter)),
                    }
                }
                Input::Executed(key, bytes) => if let Some((run, payload)) = running.remove(&key) {
                    for (_, (waiter, digest)) in table.finish(&key, run, Ending::Executed(payload, bytes), now) {
                        prop_assert_eq!(digest, payload);
                        prop_assert!(ended.insert(waiter), "answered twice");
                    }
                },
                Input::Void(key) => if let Some((run, _)) = running.remove(&key) {
                    for (_, (waiter, _)) in table.finish(&key, run, Ending::Void, now) {
                        prop_assert!(ended.insert(waiter), "answered twice");
                    }
                },
                Input::Leave(at) if !seats.is_empty() => {
                    let (key, run, seat) = seats[at % seats.len()];
                    if let Left::Others((waiter, _)) = table.leave(&key, run, seat) {
                        prop_assert!(ended.insert(waiter), "answered twice");
                    }
                }
                Input::Vanish(at) if !seats.is_empty() => {
                    let (key, run, seat) = seats[at % seats.len()];
                    if let Some((waiter, _)) = table.vanish(&key, run, seat) {
                        prop_assert!(ended.insert(waiter), "answered twice");
                    }
                }
                Input::Pass(millis) => now += Duration::from_millis(millis),
                Input::Leave(_) | Input::Vanish(_) => {}
            }
            let kept: u64 = table.entries.values().map(|entry| match entry.stage {
                Stage::Kept(_, bytes) => bytes,
                Stage::Running { .. } | Stage::Lost => 0,
            }).sum();
            prop_assert_eq!(kept, table.bytes);
            prop_assert!(table.bytes <= bounds().bytes && table.past.len() <= bounds().names);
            prop_assert!(table.entries.len() <= running.len() + bounds().names);
        }
        for (key, (run, payload)) in running {
            for (_, (waiter, _)) in table.finish(&key, run, Ending::Executed(payload, 0), now) {
                prop_assert!(ended.insert(waiter), "answered twice");
            }
        }
        prop_assert_eq!(ended.len(), came as usize, "a waiter has no end");
    }
}
