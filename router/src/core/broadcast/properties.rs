//! Properties of a broadcast over any world: one result per device, counts that add up, bounds that hold.

use proptest::prelude::*;

use super::{script::BOUNDS, *};

/// What happens next to a broadcast.
#[derive(Debug, Clone, Copy)]
enum Input {
    Answered(usize, u64),
    Failed(usize, Reason, Outcome),
    Taken,
    Pass(u64),
}

fn input() -> impl Strategy<Value = Input> {
    let (reasons, outcomes) = (Reason::ALL.to_vec(), Outcome::ALL.to_vec());
    prop_oneof![
        4 => (any::<usize>(), 0..80u64).prop_map(|(at, bytes)| Input::Answered(at, bytes)),
        4 => (any::<usize>(), prop::sample::select(reasons), prop::sample::select(outcomes))
            .prop_map(|(at, reason, outcome)| Input::Failed(at, reason, outcome)),
        6 => Just(Input::Taken),
        4 => (0..700u64).prop_map(Input::Pass),
    ]
}

/// What the test knows of the world.
struct World {
    broadcast: Broadcast,
    window: u32,
    now: Instant,
    begun: Instant,
    out: Vec<Attempt>,
    held: VecDeque<u64>,
    /// By device: results, and attempts that may have run.
    results: Vec<u32>,
    may_have_run: Vec<u32>,
    sent: u64,
    over: bool,
}

impl World {
    fn step(&mut self) {
        loop {
            match self.broadcast.step(self.now) {
                Step::Send(attempt) => {
                    assert_eq!(
                        self.may_have_run[attempt.target as usize], 0,
                        "called again though it may have run"
                    );
                    assert_eq!(self.results[attempt.target as usize], 0, "called after its result");
                    self.out.push(attempt);
                    self.sent += 1;
                }
                Step::GiveUp(target) => self.result(target, 0),
                Step::Wait(_) => break,
                Step::Over => {
                    self.over = true;
                    break;
                }
            }
        }
        assert!(self.out.len() + self.held.len() <= self.window as usize, "above the window");
        assert!(self.broadcast.again.len() <= BOUNDS.again);
    }

    fn result(&mut self, target: Target, bytes: u64) {
        self.results[target as usize] += 1;
        self.held.push_back(bytes);
    }

    fn take_in(&mut self, input: Input) {
        match input {
            Input::Answered(at, bytes) if !self.out.is_empty() => {
                let attempt = self.out.swap_remove(at % self.out.len());
                self.may_have_run[attempt.target as usize] += 1;
                self.broadcast.answered(bytes);
                self.result(attempt.target, bytes);
            }
            Input::Failed(at, reason, outcome) if !self.out.is_empty() => {
                let attempt = self.out.swap_remove(at % self.out.len());
                self.may_have_run[attempt.target as usize] += u32::from(outcome != Outcome::NotExecuted);
                let failure = Failure::new(reason, outcome, "");
                match self.broadcast.failed(attempt, &failure, self.now) {
                    Verdict::Result => self.result(attempt.target, 0),
                    Verdict::Again => assert!(failure.retryable() && attempt.number < BOUNDS.attempts),
                }
            }
            Input::Taken => {
                if let Some(bytes) = self.held.pop_front() {
                    self.broadcast.taken(bytes);
                }
            }
            Input::Pass(millis) => self.now += Duration::from_millis(millis),
            Input::Answered(..) | Input::Failed(..) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn each_device_has_one_result_and_the_counts_add_up(
        targets in 0..40u32, window in 1..6u32, rate in 1..200u32, deadline in 0..20_000u64,
        inputs in prop::collection::vec(input(), 0..300),
    ) {
        let begun = Instant::now();
        let slack = Duration::from_millis(10);
        let bounds = Bounds { window, ..BOUNDS };
        let broadcast =
            Broadcast::new(targets, begun + Duration::from_millis(deadline), Pace::new(rate, slack), bounds);
        let mut world = World {
            broadcast, window, now: begun, begun, out: Vec::new(), held: VecDeque::new(),
            results: vec![0; targets as usize], may_have_run: vec![0; targets as usize], sent: 0, over: false,
        };
        for input in inputs {
            world.step();
            world.take_in(input);
            let passed = world.now - world.begun + slack;
            prop_assert!(world.sent <= 1 + (passed.as_secs_f64() * f64::from(rate)).ceil() as u64, "too fast");
        }
        // From now on everything is answered and taken: it must come to its end by itself.
        for _ in 0..10 * (targets as usize + 1) {
            world.step();
            while !world.out.is_empty() {
                world.take_in(Input::Answered(0, 0));
            }
            while !world.held.is_empty() {
                world.take_in(Input::Taken);
            }
            world.take_in(Input::Pass(1_000));
        }
        world.step();
        prop_assert!(world.over, "it never ends: {:?}", world.broadcast);
        prop_assert!(world.results.iter().all(|results| *results == 1), "{:?}", world.results);
        prop_assert!(world.may_have_run.iter().all(|times| *times <= 1), "{:?}", world.may_have_run);
        let tally = world.broadcast.tally();
        prop_assert_eq!(tally.results(), u64::from(targets));
        let failed: u64 = Outcome::ALL.map(|outcome| tally.failures(outcome)).iter().sum();
        prop_assert_eq!(tally.reasons().map(|(_, count)| count).sum::<u64>(), failed);
    }
}
