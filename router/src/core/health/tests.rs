//! Golden script and properties of a device's health: blocks of inputs, `---`, the effects.
//!
//! Inputs: `TIME answered`, `TIME timeout`, `TIME tick [SINCE]` (`SINCE`: a cancelled call holds its place since then),
//! `TIME alive`, `TIME failed`, `TIME refused`, `TIME unknown` (ends of the health call). Times are milliseconds.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

struct Script {
    start: Instant,
    health: Health,
}

impl Script {
    fn at(&self, time: &str) -> Instant {
        self.start + Duration::from_millis(time.parse().expect("a time"))
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = self.at(words[0]);
        let before = self.health.standing();
        let order = match words[1..] {
            ["answered"] => {
                self.health.answered();
                None
            }
            ["timeout"] => self.health.timed_out(now),
            ["tick"] => self.health.tick(None, now),
            ["tick", since] => self.health.tick(Some(self.at(since)), now),
            ["alive"] => self.health.probed(ProbeEnd::Alive, now),
            ["failed"] => self.health.probed(ProbeEnd::Failed, now),
            ["refused"] => self.health.probed(ProbeEnd::Refused, now),
            ["unknown"] => self.health.probed(ProbeEnd::Unknown, now),
            _ => panic!("unknown input {line:?}"),
        };
        let mut said = String::new();
        if self.health.standing() != before {
            writeln!(said, "{} {:?}", words[0], self.health.standing()).expect("a string takes all");
        }
        if let Some(order) = order {
            writeln!(said, "{} {order:?}", words[0]).expect("a string takes all");
        }
        said
    }
}

#[test]
fn a_devices_health_follows_its_script() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/core/scripts/health.txt");
    let text = include_str!("../scripts/health.txt");
    let mut written = String::new();
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let (inputs, _) = block.split_once("---").expect("inputs, ---, effects");
        let mut script = Script { start: Instant::now(), health: Health::new() };
        let said: String =
            inputs.lines().filter(|line| !line.starts_with('#')).map(|line| script.run(line)).collect();
        write!(written, "{inputs}---\n{said}\n").expect("a string takes all");
    }
    if std::env::var_os("ROLLCALL_REWRITE_SCRIPTS").is_some() {
        std::fs::write(path, &written).expect("the script can be written");
    } else {
        assert_eq!(written.trim(), text.trim());
    }
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Answered,
    Timeout,
    Tick(Option<u64>),
    Probed(ProbeEnd),
}

fn inputs() -> impl Strategy<Value = (u64, Input)> {
    let end = prop::sample::select(vec![ProbeEnd::Alive, ProbeEnd::Failed, ProbeEnd::Refused]);
    let input = prop_oneof![
        2 => Just(Input::Answered),
        6 => Just(Input::Timeout),
        6 => prop::option::of(0..20_000u64).prop_map(Input::Tick),
        2 => end.prop_map(Input::Probed),
    ];
    (0..4_000u64, input)
}

proptest! {
    #[test]
    fn only_a_failed_health_call_ejects_and_only_an_answered_one_lets_back(
        inputs in prop::collection::vec(inputs(), 1..200),
    ) {
        let start = Instant::now();
        let (mut health, mut now, mut asked) = (Health::new(), start, None);
        for (pause, input) in inputs {
            now += Duration::from_millis(pause);
            let before = health.standing();
            let order = match input {
                Input::Answered => { health.answered(); None }
                Input::Timeout => health.timed_out(now),
                Input::Tick(ago) => {
                    let since = ago.and_then(|ago| now.checked_sub(Duration::from_millis(ago)));
                    health.tick(since, now)
                }
                // Nobody ends a call that was not made.
                Input::Probed(_) if asked.is_none() => None,
                Input::Probed(end) => health.probed(end, now),
            };
            match order {
                Some(Order::Probe(_)) => asked = Some(now),
                Some(Order::Eject) => {
                    let failed = matches!(input, Input::Probed(ProbeEnd::Failed));
                    let silent = asked.is_some_and(|at| now - at >= limits::PROBE_PATIENCE);
                    prop_assert!(before == Standing::Suspect && (failed || silent), "{input:?}");
                }
                Some(Order::LetBack) => {
                    prop_assert!(before == Standing::Ejected && matches!(input, Input::Probed(ProbeEnd::Alive)));
                }
                None => {}
            }
            if matches!(input, Input::Probed(_)) { asked = None; }
            prop_assert!(before != Standing::Ejected || health.standing() == Standing::Ejected
                || order == Some(Order::LetBack), "it came back by itself");
        }
    }

    #[test]
    fn slow_calls_never_eject_a_device_that_answers_its_health_calls(timeouts in 1..2_000u32, every in 1..1_500u64) {
        let (mut health, mut now) = (Health::new(), Instant::now());
        for number in 0..timeouts {
            now += Duration::from_millis(every);
            let order = if number % 5 == 4 { health.tick(Some(now), now) } else { health.timed_out(now) };
            match order {
                Some(Order::Probe(_)) => prop_assert_eq!(health.probed(ProbeEnd::Alive, now), None),
                Some(order) => prop_assert!(false, "{order:?}"),
                None => {}
            }
        }
        prop_assert_ne!(health.standing(), Standing::Ejected);
    }
}
