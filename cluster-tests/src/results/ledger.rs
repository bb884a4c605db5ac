//! The count of runs, row by row.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    invariants::Violation,
    rows::{Bite, Most, Outcome, Row, Target},
};

/// Samples from which on a p99 means something; below it the maximum is told.
const ENOUGH_FOR_P99: usize = 100;
/// Reasons and violations that a row keeps in words; the others are counted.
const WORDS: usize = 5;

/// What happened to one row.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Runs that came to a verdict or did not.
    pub runs: u32,
    /// Runs whose fault bit.
    pub bit: u32,
    /// Runs whose fault did not bite.
    pub inconclusive: u32,
    /// Runs in which an invariant broke.
    pub failed: u32,
    /// Runs that the harness could not play.
    pub broken: u32,
    /// Why the row is not run here.
    pub not_run: Option<String>,
    /// The first violations, with their seeds.
    pub words: Vec<String>,
    samples: BTreeMap<&'static str, Vec<Duration>>,
    /// How many of how many, by name.
    counts: BTreeMap<&'static str, (u64, u64)>,
}

/// All rows of a run.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    rows: BTreeMap<u8, Tally>,
}

impl Ledger {
    /// A run came to its end.
    pub fn add(&mut self, row: &Row, seed: u64, outcome: &Outcome) {
        let tally = self.rows.entry(row.number).or_default();
        tally.runs += 1;
        match &outcome.bite {
            Bite::Bit => tally.bit += 1,
            Bite::Inconclusive(why) => {
                tally.inconclusive += 1;
                tally.say(format!("seed {seed}: inconclusive: {why}"));
            }
        }
        if let Some(first) = outcome.violations.first() {
            tally.failed += 1;
            tally.say(format!(
                "seed {seed}: {} violations, the first: {}",
                outcome.violations.len(),
                short(first)
            ));
        }
        if outcome.bite != Bite::Bit {
            // It measured what nothing was wrong with.
            return;
        }
        for sample in &outcome.samples {
            tally.samples.entry(sample.name).or_default().push(sample.took);
        }
        for count in &outcome.counts {
            let (counted, of) = tally.counts.entry(count.name).or_default();
            (*counted, *of) = (*counted + count.counted, *of + count.of);
        }
    }

    /// The harness could not play a run.
    pub fn broke(&mut self, row: &Row, seed: u64, why: &str) {
        let tally = self.rows.entry(row.number).or_default();
        tally.runs += 1;
        tally.broken += 1;
        tally.say(format!("seed {seed}: the harness: {why}"));
    }

    /// The row's ground is not permitted here.
    pub fn not_run(&mut self, row: &Row, why: &str) {
        self.rows.entry(row.number).or_default().not_run = Some(why.to_owned());
    }

    /// What happened to a row.
    pub fn tally(&self, row: u8) -> Tally {
        self.rows.get(&row).cloned().unwrap_or_default()
    }

    /// Whether anything failed, broke, or missed its target.
    pub fn is_green(&self, rows: &[&Row]) -> bool {
        rows.iter().all(|row| {
            let tally = self.tally(row.number);
            tally.failed + tally.broken == 0 && tally.missed(row).is_empty()
        })
    }
}

impl Tally {
    fn say(&mut self, words: String) {
        if self.words.len() < WORDS {
            self.words.push(words);
        }
    }

    /// The samples of each name: how many, p50, p99 or nothing below 100 samples, and the maximum.
    pub fn spreads(&self) -> Vec<(&'static str, usize, Duration, Option<Duration>, Duration)> {
        let spread = |(name, samples): (&&'static str, &Vec<Duration>)| {
            let mut sorted = samples.clone();
            sorted.sort_unstable();
            let at = |part: usize| sorted[((sorted.len() * part).div_ceil(100)).max(1) - 1];
            let p99 = (sorted.len() >= ENOUGH_FOR_P99).then(|| at(99));
            (*name, sorted.len(), at(50), p99, at(100))
        };
        self.samples.iter().filter(|(_, samples)| !samples.is_empty()).map(spread).collect()
    }

    /// What was counted, over all runs: its name, how many, of how many.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64, u64)> + '_ {
        self.counts.iter().map(|(name, (counted, of))| (*name, *counted, *of))
    }

    /// Targets that the samples miss.
    pub fn missed(&self, row: &Row) -> Vec<String> {
        let spreads = self.spreads();
        // Their p99, or their maximum while they are few.
        let worst = |sample| {
            let (.., p99, most) = spreads.iter().find(|(name, ..)| *name == sample)?;
            Some(p99.unwrap_or(*most))
        };
        let miss = |target: &Target| {
            let most = match target.most {
                Most::Of(most) => most,
                Most::Times(times, other) => times * worst(other)?,
            };
            let reached = worst(target.sample)?;
            (reached > most).then(|| format!("{}: {reached:.1?} of {most:.1?}", target.sample))
        };
        row.targets.iter().filter_map(miss).collect()
    }
}

fn short(violation: &Violation) -> String {
    violation.to_string().chars().take(300).collect::<String>().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::row;

    fn outcome(bite: Bite, took: u64) -> Outcome {
        Outcome::new(bite, Vec::new()).measured("connect pause", [Duration::from_millis(took)])
    }

    #[test]
    fn a_p99_needs_a_hundred_samples() -> anyhow::Result<()> {
        let (mut ledger, row) = (Ledger::default(), row(2)?);
        for took in 1..=99 {
            ledger.add(row, took, &outcome(Bite::Bit, took));
        }
        let ms = Duration::from_millis;
        assert_eq!(ledger.tally(2).spreads(), [("connect pause", 99, ms(50), None, ms(99))]);
        ledger.add(row, 100, &outcome(Bite::Bit, 100));
        assert_eq!(ledger.tally(2).spreads(), [("connect pause", 100, ms(50), Some(ms(99)), ms(100))]);
        Ok(())
    }

    #[test]
    fn an_inconclusive_run_is_not_a_bite_and_a_missed_target_is_not_green() -> anyhow::Result<()> {
        let (mut ledger, row) = (Ledger::default(), row(2)?);
        ledger.add(row, 1, &outcome(Bite::Inconclusive("no election".into()), 10));
        let tally = ledger.tally(2);
        assert_eq!((tally.runs, tally.bit, tally.inconclusive), (1, 0, 1));
        assert!(ledger.is_green(&[row]));
        ledger.add(row, 2, &outcome(Bite::Bit, 9_000));
        assert!(!ledger.is_green(&[row]), "{:?}", ledger.tally(2).missed(row));
        Ok(())
    }
}
