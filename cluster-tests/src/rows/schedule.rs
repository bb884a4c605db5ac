//! Which row plays next: rows that lack bites first, and none that would not end in time.

use std::{cmp::Ordering, collections::BTreeMap, time::Duration};

use super::Row;
use crate::{results::Ledger, stage::Ground};

/// How far rows get on one ground before the next ground is set, in parts of the bites that they need. Even, so that rows
/// of two grounds are played on both as often.
const ROUNDS: f64 = 4.0;
/// What a row is thought to take that has not been played yet.
const FIRST_RUN: Duration = Duration::from_secs(15);
/// A row that was played so many times as often as it is to bite, and still lacks bites, has no teeth here: the others are
/// not to starve for it.
const PATIENCE: u32 = 3;

/// What a run plays.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// The row.
    pub row: &'a Row,
    /// Where.
    pub ground: Ground,
}

/// Chooses rows, and remembers how long they take.
#[derive(Debug)]
pub struct Schedule<'a> {
    rows: &'a [&'a Row],
    /// Runs and their time, by the row's number.
    took: BTreeMap<u8, (u32, Duration)>,
    set: Option<Ground>,
}

impl<'a> Schedule<'a> {
    /// Of these rows.
    pub fn new(rows: &'a [&'a Row]) -> Self {
        Self { rows, took: BTreeMap::new(), set: None }
    }

    /// The row that comes next if there is so much time left; nothing if none would end in it.
    ///
    /// Rows that lack bites come first, and among them the one that has had the smallest part of those it needs, in rounds:
    /// within one, rows of the ground that is set come first, as setting another takes seconds. Rows that cannot be played
    /// here are left out.
    pub fn next(&mut self, ledger: &Ledger, left: Duration) -> Option<Turn<'a>> {
        let playable = self.rows.iter().copied().filter(|row| ledger.tally(row.number).not_run.is_none());
        let in_time = playable.filter(|row| self.typical(row) <= left);
        let ranked = in_time.map(|row| self.rank(row, ledger));
        let least = ranked.min_by(|(one, _), (other, _)| one.partial_cmp(other).unwrap_or(Ordering::Equal));
        let turn = least.map(|(_, turn)| turn)?;
        self.set = Some(turn.ground);
        Some(turn)
    }

    fn rank(&self, row: &'a Row, ledger: &Ledger) -> ((bool, u32, bool, u8, f64), Turn<'a>) {
        let tally = ledger.tally(row.number);
        // A run that did not bite counts a little, so that a row without teeth does not starve the others.
        let bites = f64::from(tally.bit).max(f64::from(tally.runs) / f64::from(PATIENCE));
        let progress = bites / f64::from(row.bites_wanted.max(1));
        let round = (progress * ROUNDS) as u32;
        let ground = row.grounds[round as usize % row.grounds.len()];
        let is_other = Some(ground) != self.set;
        ((progress >= 1.0, round, is_other, ground as u8, progress), Turn { row, ground })
    }

    /// A run took so long, with the setting of its stage.
    pub fn took(&mut self, row: &Row, took: Duration) {
        let (runs, all) = self.took.entry(row.number).or_default();
        (*runs, *all) = (*runs + 1, *all + took);
    }

    fn typical(&self, row: &Row) -> Duration {
        self.took.get(&row.number).map_or(FIRST_RUN, |(runs, all)| *all / (*runs).max(1))
    }

    /// How long the bites that are lacking will take, as long as runs take so far.
    pub fn to_do(&self, ledger: &Ledger) -> Duration {
        let lacking = self.rows.iter().filter(|row| ledger.tally(row.number).not_run.is_none());
        lacking
            .map(|row| self.typical(row) * row.bites_wanted.saturating_sub(ledger.tally(row.number).bit))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Bite, Outcome, ROWS, row};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn bite(ledger: &mut Ledger, row: &Row) {
        ledger.add(row, 1, &Outcome::new(Bite::Bit, Vec::new()));
    }

    #[test]
    fn every_row_gets_its_bites_before_any_gets_more() {
        let rows: Vec<_> = ROWS.iter().collect();
        let (mut ledger, mut schedule) = (Ledger::default(), Schedule::new(&rows));
        let all: u32 = rows.iter().map(|row| row.bites_wanted).sum();
        for _ in 0..all {
            let turn = schedule.next(&ledger, HOUR).expect("there is time");
            bite(&mut ledger, turn.row);
        }
        for row in rows {
            assert_eq!(ledger.tally(row.number).bit, row.bites_wanted, "row {}", row.number);
        }
    }

    #[test]
    fn the_grounds_of_a_row_take_turns() -> anyhow::Result<()> {
        let rows = [row(5)?];
        let (mut ledger, mut schedule) = (Ledger::default(), Schedule::new(&rows));
        let mut on = BTreeMap::<u8, u32>::new();
        while ledger.tally(5).bit < rows[0].bites_wanted {
            let turn = schedule.next(&ledger, HOUR).expect("there is time");
            *on.entry(turn.ground as u8).or_default() += 1;
            bite(&mut ledger, turn.row);
        }
        assert_eq!(on.into_values().collect::<Vec<_>>(), [10, 10]);
        Ok(())
    }

    #[test]
    fn a_row_that_would_not_end_in_time_does_not_begin() -> anyhow::Result<()> {
        let rows = [row(1)?, row(2)?];
        let (ledger, mut schedule) = (Ledger::default(), Schedule::new(&rows));
        schedule.took(rows[0], Duration::from_secs(30));
        schedule.took(rows[1], Duration::from_secs(10));
        let number = |turn: Option<Turn<'_>>| turn.map(|turn| turn.row.number);
        assert_eq!(number(schedule.next(&ledger, Duration::from_secs(20))), Some(2));
        assert_eq!(number(schedule.next(&ledger, Duration::from_secs(5))), None);
        assert_eq!(schedule.to_do(&ledger), Duration::from_secs(30 * 20 + 10 * 100));
        Ok(())
    }

    #[test]
    fn a_row_without_teeth_starves_nobody() -> anyhow::Result<()> {
        let rows = [row(11)?, row(12)?];
        let (mut ledger, mut schedule) = (Ledger::default(), Schedule::new(&rows));
        while ledger.tally(12).bit < rows[1].bites_wanted {
            let turn = schedule.next(&ledger, HOUR).expect("there is time");
            match turn.row.number {
                12 => bite(&mut ledger, turn.row),
                _ => ledger.add(turn.row, 1, &Outcome::new(Bite::Inconclusive("no".into()), Vec::new())),
            }
        }
        assert!(ledger.tally(11).runs <= PATIENCE * rows[0].bites_wanted);
        Ok(())
    }
}
