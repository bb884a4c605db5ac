//! What was measured, against what it is held, and how it is shown: a table for people, JSON for programs.

use std::{process::ExitCode, time::Instant};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::stats::Spread;

/// How figures are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs, on standard output; progress stays on standard error.
    Json,
}

/// What a figure must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {}", number(bound)),
            Self::AtMost(bound) => format!("<= {}", number(bound)),
        }
    }
}

#[derive(Debug)]
struct Goal {
    /// The figure that this one is divided by, pair by pair. `None`: the figure itself is meant.
    against: Option<&'static str>,
    bound: Option<Bound>,
}

/// One thing that is measured several times.
#[derive(Debug)]
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    samples: Vec<f64>,
    goals: Vec<Goal>,
}

impl Figure {
    pub(crate) fn new(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, samples: Vec::new(), goals: Vec::new() }
    }

    /// Compares it with another figure.
    pub(crate) fn against(mut self, other: &'static str, bound: Bound) -> Self {
        self.goals.push(Goal { against: Some(other), bound: Some(bound) });
        self
    }

    /// Shows the ratio to another figure, without a goal.
    pub(crate) fn beside(mut self, other: &'static str) -> Self {
        self.goals.push(Goal { against: Some(other), bound: None });
        self
    }

    /// Says what it must reach by itself.
    pub(crate) fn goal(mut self, bound: Bound) -> Self {
        self.goals.push(Goal { against: None, bound: Some(bound) });
        self
    }
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    title: &'static str,
    started: Instant,
    notes: Vec<String>,
    figures: Vec<Figure>,
    missing: Vec<String>,
}

impl Report {
    pub(crate) fn new(title: &'static str, figures: Vec<Figure>) -> Self {
        Self { title, started: Instant::now(), notes: Vec::new(), figures, missing: Vec::new() }
    }

    /// Says something of the run as a whole, now and in the report.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        self.progress(&note);
        self.notes.push(note);
    }

    /// A peer that could not be measured: the run will fail.
    pub(crate) fn not_run(&mut self, what: &str, why: &str) {
        let line = format!("{what}: NOT RUN: {why}");
        self.progress(&line);
        self.missing.push(line);
    }

    /// Adds a sample.
    pub(crate) fn add(&mut self, name: &'static str, sample: f64) {
        let Some(figure) = self.figures.iter_mut().find(|figure| figure.name == name) else {
            return self.note(format!("{name} is measured and not declared: {sample}"));
        };
        figure.samples.push(sample);
        let line = format!("{name} {}: {} {}", ordinal(figure.samples.len()), number(sample), figure.unit);
        self.progress(&line);
    }

    /// The median of a figure so far.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        Spread::of(&self.samples(name)).map(|spread| spread.median)
    }

    /// Shows everything. The code says whether everything could be measured.
    pub(crate) fn finish(&mut self, output: Output) -> ExitCode {
        self.note(format!("load average of the machine at the end: {}", load_average()));
        match output {
            Output::Table => self.print_table(),
            Output::Json => println!("{:#}", self.json()),
        }
        if self.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn progress(&self, line: &str) {
        eprintln!("[{:4.0} s] {line}", self.started.elapsed().as_secs_f64());
    }

    fn samples(&self, name: &str) -> Vec<f64> {
        let found = self.figures.iter().find(|figure| figure.name == name);
        found.map(|figure| figure.samples.clone()).unwrap_or_default()
    }

    /// Sample by sample, so that both sides of each quotient were measured next to each other.
    fn ratio(&self, figure: &Figure, against: &str) -> Option<Spread> {
        let other = self.samples(against);
        let ratios: Vec<f64> = figure.samples.iter().zip(other).map(|(mine, theirs)| mine / theirs).collect();
        Spread::of(&ratios)
    }

    fn print_table(&self) {
        println!("\n{}", self.title);
        self.notes.iter().for_each(|note| println!("  {note}"));
        println!("\n{:<46} {:>12}   {:<27} unit", "figure", "median", "least .. most");
        for figure in &self.figures {
            match Spread::of(&figure.samples) {
                Some(spread) => println!(
                    "{:<46} {:>12}   {:<27} {}",
                    figure.name,
                    number(spread.median),
                    range(spread),
                    figure.unit
                ),
                None => println!("{:<46} {:>12}", figure.name, "NOT RUN"),
            }
            figure.goals.iter().for_each(|goal| self.print_goal(figure, goal));
        }
        self.missing.iter().for_each(|missing| println!("{missing}"));
    }

    fn print_goal(&self, figure: &Figure, goal: &Goal) {
        let Some((spread, verdict)) = self.judge(figure, goal) else { return };
        let bound = goal.bound.map(|bound| format!("goal {}: {verdict}", bound.text())).unwrap_or_default();
        match goal.against {
            Some(other) => {
                let label = format!("    / {other}");
                println!("{label:<46} {:>12}   {:<27} {bound}", number(spread.median), range(spread));
            }
            None => println!("{:<46} {:>12}   {:<27} {bound}", "", "", ""),
        }
    }

    fn judge(&self, figure: &Figure, goal: &Goal) -> Option<(Spread, &'static str)> {
        let spread = match goal.against {
            Some(other) => self.ratio(figure, other)?,
            None => Spread::of(&figure.samples)?,
        };
        let verdict = match goal.bound {
            None => "",
            Some(bound) if bound.holds(spread.median) => "reached",
            Some(_) => "MISSED",
        };
        Some((spread, verdict))
    }

    fn json(&self) -> Value {
        let goal = |figure: &Figure, goal: &Goal| {
            let judged = self.judge(figure, goal);
            json!({
                "against": goal.against,
                "bound": goal.bound.map(Bound::text),
                "median": judged.map(|(spread, _)| spread.median),
                "reached": judged.filter(|_| goal.bound.is_some()).map(|(_, verdict)| verdict == "reached"),
            })
        };
        let figure = |figure: &Figure| {
            json!({
                "name": figure.name,
                "unit": figure.unit,
                "median": Spread::of(&figure.samples).map(|spread| spread.median),
                "samples": figure.samples,
                "goals": figure.goals.iter().map(|one| goal(figure, one)).collect::<Vec<_>>(),
            })
        };
        json!({
            "title": self.title,
            "notes": self.notes,
            "figures": self.figures.iter().map(figure).collect::<Vec<_>>(),
            "not_run": self.missing,
        })
    }
}

/// Who else has been busy: figures from a machine with a load beside ours are worth less.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn ordinal(count: usize) -> String {
    format!("#{count}")
}

fn range(spread: Spread) -> String {
    format!("{} .. {}", number(spread.least), number(spread.most))
}

/// With as many digits as mean something.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1_000.0 => return grouped(value.round() as i64),
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

fn grouped(value: i64) -> String {
    let (rest, last) = (value / 1_000, value % 1_000);
    if rest == 0 { last.to_string() } else { format!("{},{:03}", grouped(rest), last.abs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_the_digits_that_mean_something() {
        let shown: Vec<_> = [0.6789, 12.34, 456.7, 1234.5, 1_234_567.0].map(number).to_vec();
        assert_eq!(shown, ["0.68", "12.3", "457", "1,235", "1,234,567"]);
    }

    #[test]
    fn a_ratio_is_taken_pair_by_pair() {
        let figures = vec![Figure::new("a", "/s").against("b", Bound::AtLeast(2.0)), Figure::new("b", "/s")];
        let mut report = Report::new("test", figures);
        for (a, b) in [(2.0, 1.0), (40.0, 20.0), (6.0, 2.0)] {
            report.add("a", a);
            report.add("b", b);
        }
        let spread = report.ratio(&report.figures[0], "b");
        assert_eq!(spread, Some(Spread { least: 2.0, median: 2.0, most: 3.0 }));
    }
}
