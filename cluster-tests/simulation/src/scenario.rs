//! What is simulated: a seed, and perhaps something that is wrong on purpose.

/// A protection that is taken away, to see that the simulation notices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Planted {
    /// Nothing.
    #[default]
    Nothing,
    /// Disks acknowledge what they have not written.
    DisksClaim,
    /// The clock of one machine runs at six tenths of the others': slower than the margin of leases bears.
    ClockCrawls,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Decides all that happens.
    pub seed: u64,
    /// What is wrong.
    pub planted: Planted,
    /// Whether the trace is kept as text.
    pub trace: Reading,
}

/// Whether anybody reads the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Only its hash counts.
    Hash,
    /// Its lines are wanted.
    Lines,
}

impl Scenario {
    /// This seed, with nothing planted.
    pub fn of(seed: u64) -> Self {
        Self { seed, planted: Planted::Nothing, trace: Reading::Hash }
    }
}
