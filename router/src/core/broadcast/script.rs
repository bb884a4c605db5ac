//! Golden script of a broadcast: blocks of inputs, `---`, the effects.
//!
//! `broadcast DEVICES WINDOW RATE DEADLINE` begins a new one; `TIME step`; `TIME answered DEVICE BYTES`;
//! `TIME failed DEVICE REASON OUTCOME`; `taken BYTES`. Times are milliseconds. Three attempts, a second apart; 100 bytes
//! may be held. `ROLLCALL_REWRITE_SCRIPTS=1 cargo test -p rollcall-router a_broadcast_follows` writes down what it gives.

use std::{collections::HashMap, fmt::Write as _};

use super::*;

pub(super) const BOUNDS: Bounds =
    Bounds { window: 2, held_bytes: 100, again: 2, attempts: 3, pause: Duration::from_millis(1_000) };

struct Script {
    start: Instant,
    broadcast: Broadcast,
    out: HashMap<Target, Attempt>,
    effects: String,
}

impl Script {
    fn new(targets: u32, window: u32, rate: u32, deadline: u64) -> Self {
        let start = Instant::now();
        let pace = Pace::new(rate, Duration::from_millis(10));
        let deadline = start + Duration::from_millis(deadline);
        let broadcast = Broadcast::new(targets, deadline, pace, Bounds { window, ..BOUNDS });
        Self { start, broadcast, out: HashMap::new(), effects: String::new() }
    }

    fn say(&mut self, effect: std::fmt::Arguments<'_>) {
        writeln!(self.effects, "{effect}").expect("a string takes all");
    }

    fn run(&mut self, line: &str) {
        let number = |word: &str| word.parse::<u64>().expect("a number");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["taken", bytes] => self.broadcast.taken(number(bytes)),
            [time, ref rest @ ..] => {
                let now = self.start + Duration::from_millis(number(time));
                match *rest {
                    ["step"] => self.steps(now),
                    ["answered", device, bytes] => {
                        self.out.remove(&(number(device) as u32)).expect("it is out");
                        self.broadcast.answered(number(bytes));
                    }
                    ["failed", device, reason, outcome] => self.failed(number(device), reason, outcome, now),
                    _ => panic!("unknown input {line:?}"),
                }
            }
            [] => {}
        }
    }

    fn steps(&mut self, now: Instant) {
        loop {
            match self.broadcast.step(now) {
                Step::Send(attempt) => {
                    self.out.insert(attempt.target, attempt);
                    self.say(format_args!("call {}, attempt {}", attempt.target, attempt.number));
                }
                Step::GiveUp(target) => self.say(format_args!("give up {target}")),
                Step::Wait(None) => return self.say(format_args!("wait")),
                Step::Wait(Some(until)) => {
                    let until = (until - self.start).as_millis();
                    return self.say(format_args!("wait until {until}"));
                }
                Step::Over => return self.over(),
            }
        }
    }

    fn over(&mut self) {
        let tally = self.broadcast.tally().clone();
        let [not_executed, unknown, executed] = Outcome::ALL.map(|outcome| tally.failures(outcome));
        self.say(format_args!(
            "over: {} answered, {not_executed} not executed, {unknown} unknown, {executed} executed",
            tally.answers()
        ));
    }

    fn failed(&mut self, device: u64, reason: &str, outcome: &str, now: Instant) {
        let attempt = self.out.remove(&(device as u32)).expect("it is out");
        let reason = Reason::ALL.into_iter().find(|one| one.as_str() == reason).expect("a reason");
        let outcome = Outcome::ALL.into_iter().find(|one| one.as_str() == outcome).expect("an outcome");
        let verdict = self.broadcast.failed(attempt, &Failure::new(reason, outcome, ""), now);
        self.say(format_args!("{verdict:?} {device}"));
    }
}

#[test]
fn a_broadcast_follows_its_script() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/core/scripts/broadcast.txt");
    let text = std::fs::read_to_string(path).expect("the script");
    let rewrite = std::env::var_os("ROLLCALL_REWRITE_SCRIPTS").is_some();
    let (mut script, mut given) = (Script::new(0, 1, 1, 0), Vec::new());
    for block in text.split("\n\n").map(str::trim) {
        let (inputs, expected) = block.split_once("---").expect("inputs, ---, effects");
        for line in inputs.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["broadcast", devices, window, rate, deadline] = words[..] {
                let number = |word: &str| word.parse::<u32>().expect("a number");
                script =
                    Script::new(number(devices), number(window), number(rate), u64::from(number(deadline)));
            } else {
                script.run(line);
            }
        }
        let effects = std::mem::take(&mut script.effects);
        assert!(rewrite || effects.trim() == expected.trim(), "after:\n{inputs}it gives:\n{effects}");
        given.push(format!("{inputs}---\n{effects}"));
    }
    if rewrite {
        std::fs::write(path, given.join("\n")).expect("the script is written");
    }
}
