//! The table of a run, and `RESULTS.md`. Failed and inconclusive rows stand in both.

use std::{fmt::Write, time::Duration};

use anyhow::ensure;

use super::{Ledger, Provenance, Tally};
use crate::rows::{ROWS, Row};

/// The first words of the file: nobody else writes it.
const TITLE: &str = "# What a torture run found\n\nWritten by `torture`; not by hand.\n";
/// What every such file must say, each a line of its own with something behind it.
const FACTS: [&str; 11] = [
    "- commit: ",
    "- tree: ",
    "- profile: ",
    "- binary: ",
    "- binary with faults: ",
    "- machine: ",
    "- command: ",
    "- seeds: ",
    "- length: ",
    "- runs: ",
    "- verdict: ",
];
/// What the table tells of each row.
const COLUMNS: &str = "| row | event | runs | bit | wanted | inconclusive | failed | harness | measured (n, p50, p99, max) | target |";
/// What was found and mended, kept by hand: no run can know it.
const FOUND: &str = include_str!("../../FOUND.md");
/// What is told of each.
const FOUND_COLUMNS: &str = "| bug | how it was found | commit | the test that catches it now |";

/// No switches of faults were needed.
const NONE: &str = "none was run";

/// The table: rows, runs, faults that bit, violations, measured times.
pub fn table(ledger: &Ledger, rows: &[&Row]) -> String {
    let mut text = format!("{COLUMNS}\n|---|---|---|---|---|---|---|---|---|---|\n");
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
pub fn page(ledger: &Ledger, rows: &[&Row], from: &Provenance, took: Duration) -> String {
    let runs: u32 = rows.iter().map(|row| ledger.tally(row.number).runs).sum();
    let tree = if from.clean { "clean" } else { "CHANGED: these results are of no commit" };
    let last = from.seed + u64::from(runs.saturating_sub(1));
    let facts = [
        from.commit.clone(),
        tree.to_owned(),
        from.profile.clone(),
        format!("sha256 {}", from.binary),
        from.binary_with_faults.as_ref().map_or_else(|| NONE.to_owned(), |hash| format!("sha256 {hash}")),
        from.machine.clone(),
        format!("`{}`", from.command),
        format!("{} to {last}", from.seed),
        format!("{:.1} minutes", took.as_secs_f64() / 60.0),
        runs.to_string(),
        verdict(ledger, rows),
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
    let _ = write!(text, "\n## What was found and mended on the way\n\n{FOUND}");
    text
}

/// Whether the run shows what it is there for, or what it lacks.
pub fn verdict(ledger: &Ledger, rows: &[&Row]) -> String {
    let wrong = rows.iter().filter_map(|row| {
        let tally = ledger.tally(row.number);
        let of = |count: u32, what: &str| (count > 0).then(|| format!("{what} {count} times"));
        let lacking =
            (tally.bit < row.bites_wanted).then(|| format!("bit {} of {}", tally.bit, row.bites_wanted));
        let missed = tally.missed(row).into_iter().map(|target| format!("missed {target}"));
        let all: Vec<_> = [lacking, of(tally.failed, "failed"), of(tally.broken, "not played")]
            .into_iter()
            .flatten()
            .chain(missed)
            .collect();
        (!all.is_empty()).then(|| format!("row {}: {}", row.number, all.join(", ")))
    });
    match wrong.collect::<Vec<_>>() {
        wrong if wrong.is_empty() => {
            "every fault bit as often as it is to, nothing broke, every target was met".to_owned()
        }
        wrong => wrong.join("; "),
    }
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
    let says = |line: &str| text.lines().any(|said| said == line);
    ensure!(says("- tree: clean"), "the tree was not clean");
    ensure!(says("- profile: release"), "it was no release build");
    let is_hash = |line: &&str| {
        let hash = line.split_once(": sha256 ").map(|(_, hash)| hash);
        hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    for binary in ["- binary: ", "- binary with faults: "] {
        let line = text.lines().find(|line| line.starts_with(binary)).unwrap_or_default();
        ensure!(is_hash(&line) || line == format!("- binary with faults: {NONE}"), "{binary:?} has no hash");
    }
    ensure!(says(COLUMNS), "it has no table");
    for row in ROWS {
        let begin = format!("| {} | {} |", row.number, row.event);
        ensure!(text.lines().any(|line| line.starts_with(&begin)), "it does not tell of row {}", row.number);
    }
    let found = text.split_once(FOUND_COLUMNS).map_or(0, |(_, found)| found.matches("\n| ").count());
    ensure!(found > 0, "it does not say what was found");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Bite, Outcome, row};

    fn provenance() -> Provenance {
        Provenance {
            commit: "0123456789".into(),
            clean: true,
            profile: "release".into(),
            binary: "ab".repeat(32),
            binary_with_faults: Some("cd".repeat(32)),
            machine: "2 processors".into(),
            command: "torture --minutes 1".into(),
            seed: 7,
        }
    }

    fn written(from: &Provenance) -> String {
        page(&Ledger::default(), &ROWS.iter().collect::<Vec<_>>(), from, Duration::from_secs(60))
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
        assert!(check_page(&whole.replace(&"cd".repeat(32), "cd")).is_err());
        assert!(check_page(&whole.replace("- profile: release", "- profile: debug")).is_err());
        assert!(check_page("# Results\n\nAll well.\n").is_err());
    }

    #[test]
    fn a_page_that_leaves_a_row_out_is_rejected() {
        let whole = written(&provenance());
        for row in ROWS {
            let begin = format!("| {} |", row.number);
            let without: Vec<_> = whole.lines().filter(|line| !line.starts_with(&begin)).collect();
            assert!(check_page(&without.join("\n")).is_err(), "row {}", row.number);
        }
        let (without, _) = whole.split_once("\n## What was found").expect("it says so");
        assert!(check_page(without).is_err());
    }

    #[test]
    fn a_run_that_shows_too_little_says_so() -> anyhow::Result<()> {
        let (mut ledger, rows) = (Ledger::default(), [row(11)?]);
        assert_eq!(verdict(&ledger, &rows), "row 11: bit 0 of 5");
        let took =
            |seconds| Outcome::new(Bite::Bit, Vec::new()).measured("ready", [Duration::from_secs(seconds)]);
        (0..5).for_each(|seed| ledger.add(rows[0], seed, &took(1)));
        assert!(verdict(&ledger, &rows).starts_with("every fault bit"));
        ledger.add(rows[0], 5, &took(60));
        assert!(verdict(&ledger, &rows).contains("missed ready"), "{}", verdict(&ledger, &rows));
        Ok(())
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
