//! Golden script of rivals: blocks of inputs, `---`, the effects; and what holds whatever they do.
//!
//! `TIME attach DEVICE`; `TIME taken DEVICE ADDRESS`. Times are milliseconds.
//! `ROLLCALL_REWRITE_SCRIPTS=1 cargo test -p rollcall-router rivals_follow` writes down what it gives.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn key(device: &str) -> DeviceKey {
    DeviceKey::new("", device)
}

fn run(rivals: &mut Rivals, start: Instant, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [time, ref rest @ ..] = words[..] else { panic!("no time in {line:?}") };
    let now = start + Duration::from_millis(time.parse().expect("a number"));
    match *rest {
        ["attach", device] => format!("{:?}", rivals.attach(&key(device), now)),
        ["taken", device, address] => match rivals.taken_over(&key(device), address, now) {
            None => "in order".to_owned(),
            Some(Flap { takeovers, former_from, tell }) => {
                format!("flap {takeovers}, from {former_from} to {address}: {tell:?}")
            }
        },
        _ => panic!("unknown input {line:?}"),
    }
}

#[test]
fn rivals_follow_their_script() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/core/scripts/rivals.txt");
    let text = std::fs::read_to_string(path).expect("the script");
    let rewrite = std::env::var_os("ROLLCALL_REWRITE_SCRIPTS").is_some();
    let start = Instant::now();
    let (mut rivals, mut given) = (Rivals::new(start), Vec::new());
    for block in text.split("\n\n").map(str::trim) {
        let (inputs, expected) = block.split_once("---").expect("inputs, ---, effects");
        let mut effects = String::new();
        for line in inputs.lines().filter(|line| !line.starts_with('#')) {
            writeln!(effects, "{}", run(&mut rivals, start, line)).expect("a string takes all");
        }
        assert!(rewrite || effects.trim() == expected.trim(), "after:\n{inputs}it gives:\n{effects}");
        given.push(format!("{inputs}---\n{effects}"));
    }
    if rewrite {
        std::fs::write(path, given.join("\n")).expect("the script is written");
    }
}

#[test]
fn the_table_has_a_bound_and_keeps_those_that_go_on() {
    let start = Instant::now();
    let mut rivals = Rivals::new(start);
    for _ in 0..=limits::TAKEOVERS_FREE {
        rivals.taken_over(&key("contested"), "a", start);
    }
    for number in 0..2 * limits::CONTESTS {
        rivals.taken_over(&key(&number.to_string()), "a", start);
    }
    assert!(rivals.contests.len() <= limits::CONTESTS);
    let later = start + limits::CONTESTS_SWEPT;
    rivals.taken_over(&key("late"), "a", later);
    assert!(rivals.contests.contains_key(&key("late")) && rivals.contests.contains_key(&key("contested")));
    assert_eq!(rivals.contests.len(), 2);
}

proptest! {
    /// Some rivals come back as soon as they may, or knock all the time.
    #[test]
    fn takeovers_become_rare_and_nobody_waits_longer_than_the_longest_turn(
        knocks in prop::collection::vec((0..3u8, 1..20_000u64), 1..600),
    ) {
        let start = Instant::now();
        let (mut rivals, mut now, mut holder) = (Rivals::new(start), start, 0);
        let mut takeovers = 0_u32;
        for (rival, pause) in knocks {
            now += Duration::from_millis(pause);
            if rival == holder {
                continue;
            }
            match rivals.attach(&key("d"), now) {
                Verdict::Admit => {
                    rivals.taken_over(&key("d"), "somewhere", now);
                    (holder, takeovers) = (rival, takeovers + 1);
                }
                // The other one answers.
                Verdict::Ask(wait) | Verdict::Wait(wait) => {
                    prop_assert!(wait <= limits::TAKEOVER_KEEP_MOST);
                    prop_assert!(!wait.is_zero());
                }
            }
        }
        let doublings = 9; // Two seconds become the longest turn by then.
        let turns = ((now - start).as_secs() / limits::TAKEOVER_KEEP_MOST.as_secs()) as u32;
        prop_assert!(takeovers <= limits::TAKEOVERS_FREE + 1 + doublings + turns, "{} takeovers", takeovers);
    }
}
