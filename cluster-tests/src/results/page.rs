//! The table of a run, and `RESULTS.md`. Failed and inconclusive rows stand in both.

use std::{fmt::Write, time::Duration};

use anyhow::ensure;

use super::{Ledger, Provenance, Tally};
use crate::rows::Row;

/// The first words of the file: nobody else writes it.
const TITLE: &str = "# What a torture run found\n\nWritten by `torture`; not by hand.\n";
/// What every such file must say, each a line of its own with something behind it.
const FACTS: [&str; 8] = [
    "- commit: ",
    "- tree: ",
    "- binary: ",
    "- machine: ",
    "- command: ",
    "- seeds: ",
    "- length: ",
    "- runs: ",
];

/// The table: rows, runs, faults that bit, violations, measured times.
pub fn table(ledger: &Ledger, rows: &[&Row]) -> String {
    let mut text = String::from(
        "| row | event | runs | bit | wanted | inconclusive | failed | harness | measured (n, p50, p99, max) | target |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let tally = ledger.tally(row.number);
        let measured = match &tally.not_run {
            Some(why) => format!("NOT RUN: {why}"),
            None => measured(&tally),
        };
        let missed = tally.missed(row);
        let target = match (row.targets.is_empty(), missed.is_empty()) {
            (true, _) => "no violation".to_owned(),
            (false, true) if tally.runs > 0 => "met".to_owned(),
            (false, true) => "not measured".to_owned(),
            (false, false) => format!("MISSED: {}", missed.join("; ")),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {measured} | {target} |",
            row.number,
            row.event,
            tally.runs,
            tally.bit,
            row.bites_wanted,
            tally.inconclusive,
            tally.failed,
            tally.broken
        );
    }
    text
}

fn measured(tally: &Tally) -> String {
    let counts = tally.counts().map(|(name, counted, of)| format!("{name}: {counted} of {of}"));
    tally.spreads().into_iter().map(spread).chain(counts).collect::<Vec<_>>().join("; ")
}

fn spread((name, n, p50, p99, most): (&str, usize, Duration, Option<Duration>, Duration)) -> String {
    let p99 = p99.map_or_else(|| "-".to_owned(), |p99| format!("{p99:.1?}"));
    format!("{name}: {n}, {p50:.1?}, {p99}, {most:.1?}")
}

/// The file.
pub fn page(ledger: &Ledger, rows: &[&Row], from: &Provenance) -> String {
    let runs: u32 = rows.iter().map(|row| ledger.tally(row.number).runs).sum();
    let tree = if from.clean { "clean" } else { "CHANGED: these results are of no commit" };
    let last = from.seed + u64::from(runs.saturating_sub(1));
    let facts = [
        from.commit.clone(),
        tree.to_owned(),
        format!("sha256 {}", from.binary),
        from.machine.clone(),
        format!("`{}`", from.command),
        format!("{} to {last}", from.seed),
        from.minutes.clone(),
        runs.to_string(),
    ];
    let mut text = TITLE.to_owned();
    text.push('\n');
    for (fact, value) in FACTS.iter().zip(facts) {
        let _ = writeln!(text, "{fact}{value}");
    }
    let _ = writeln!(
        text,
        "\nBelow 100 samples the maximum stands for the p99. A run whose fault did not bite is inconclusive.\n\n{}",
        table(ledger, rows)
    );
    for row in rows {
        for words in ledger.tally(row.number).words {
            let _ = writeln!(text, "- row {}: {words}", row.number);
        }
    }
    text
}

/// Whether a file could come from a torture run of a clean tree: it says all that one says.
///
/// # Errors
/// What it lacks.
pub fn check_page(text: &str) -> anyhow::Result<()> {
    ensure!(text.starts_with(TITLE), "it does not begin as torture begins it");
    for fact in FACTS {
        let said = text.lines().find_map(|line| line.strip_prefix(fact));
        ensure!(said.is_some_and(|said| !said.trim().is_empty()), "it does not say {fact:?}");
    }
    ensure!(text.lines().any(|line| line == "- tree: clean"), "the tree was not clean");
    let is_hash = |line: &str| {
        let hash = line.strip_prefix("- binary: sha256 ");
        hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    ensure!(text.lines().any(is_hash), "the binary has no hash");
    ensure!(text.contains("| row | event | runs | bit |"), "it has no table");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn provenance() -> Provenance {
        Provenance {
            commit: "0123456789".into(),
            clean: true,
            binary: "ab".repeat(32),
            machine: "2 processors".into(),
            command: "torture --minutes 1".into(),
            seed: 7,
            minutes: "1 minute".into(),
        }
    }

    fn written(from: &Provenance) -> String {
        page(&Ledger::default(), &ROWS.iter().collect::<Vec<_>>(), from)
    }

    #[test]
    fn a_written_page_is_accepted() -> anyhow::Result<()> {
        check_page(&written(&provenance()))
    }

    #[test]
    fn a_page_without_one_of_its_facts_is_rejected() {
        let whole = written(&provenance());
        for fact in FACTS {
            let without: Vec<_> = whole.lines().filter(|line| !line.starts_with(fact)).collect();
            assert!(check_page(&without.join("\n")).is_err(), "{fact}");
        }
        assert!(check_page(&whole.replace(&"ab".repeat(32), "ab")).is_err());
        assert!(check_page("# Results\n\nAll well.\n").is_err());
    }

    #[test]
    fn a_page_of_a_changed_tree_is_rejected() {
        assert!(check_page(&written(&Provenance { clean: false, ..provenance() })).is_err());
    }

    #[test]
    fn the_results_of_this_crate_come_from_torture() -> anyhow::Result<()> {
        match std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md")) {
            Ok(text) => check_page(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
