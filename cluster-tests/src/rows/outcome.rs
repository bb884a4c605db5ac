//! How one run of a row went.

use std::time::Duration;

use crate::invariants::Violation;

/// Whether the fault did what it is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bite {
    /// It did.
    Bit,
    /// It did not, and the run shows nothing.
    Inconclusive(String),
}

impl Bite {
    /// It bit if it did; else this is why the run shows nothing.
    pub fn when(bit: bool, why_not: impl FnOnce() -> String) -> Self {
        if bit { Self::Bit } else { Self::Inconclusive(why_not()) }
    }
}

/// Something that was measured once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// What.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// How one run of a row went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the fault did what it is there for.
    pub bite: Bite,
    /// What was broken.
    pub violations: Vec<Violation>,
    /// What was measured.
    pub samples: Vec<Sample>,
    /// What was counted: of so many, so many.
    pub counts: Vec<Count>,
}

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// What was counted.
    pub name: &'static str,
    /// How many of them.
    pub counted: u64,
    /// How many there were.
    pub of: u64,
}

impl Outcome {
    /// A run with these violations and no samples yet.
    pub fn new(bite: Bite, violations: Vec<Violation>) -> Self {
        Self { bite, violations, samples: Vec::new(), counts: Vec::new() }
    }

    /// Adds what was measured.
    #[must_use]
    pub fn measured(mut self, name: &'static str, took: impl IntoIterator<Item = Duration>) -> Self {
        self.samples.extend(took.into_iter().map(|took| Sample { name, took }));
        self
    }

    /// Adds what was counted.
    #[must_use]
    pub fn counted(mut self, name: &'static str, counted: usize, of: usize) -> Self {
        self.counts.push(Count { name, counted: counted as u64, of: of as u64 });
        self
    }
}
