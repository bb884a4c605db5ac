//! What came of a run.

use std::fmt;

use rollcall_cluster_tests::invariants::Violation;

/// How often what was meant to happen did: a run in which nothing was hit shows nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Opens that were acknowledged.
    pub opens: u64,
    /// Opens of which nobody knows.
    pub unknown: u64,
    /// Linearizable reads.
    pub reads: u64,
    /// Terms in which somebody led.
    pub leaders: u64,
    /// Crashes.
    pub crashes: u64,
    /// Writes that crashes lost.
    pub lost_writes: u64,
    /// Messages that a cut took.
    pub cut_messages: u64,
    /// Machines that stood still.
    pub pauses: u64,
    /// Lives of nodes that ended.
    pub lives_ended: u64,
    /// Snapshots that nodes installed.
    pub snapshots: u64,
}

impl Coverage {
    fn rows(&self) -> [(&'static str, u64); 10] {
        [
            ("opens", self.opens),
            ("unknown", self.unknown),
            ("reads", self.reads),
            ("leaders", self.leaders),
            ("crashes", self.crashes),
            ("lost writes", self.lost_writes),
            ("cut messages", self.cut_messages),
            ("pauses", self.pauses),
            ("lives ended", self.lives_ended),
            ("snapshots", self.snapshots),
        ]
    }

    /// The sum of both.
    pub fn and(self, other: Self) -> Self {
        Self {
            opens: self.opens + other.opens,
            unknown: self.unknown + other.unknown,
            reads: self.reads + other.reads,
            leaders: self.leaders + other.leaders,
            crashes: self.crashes + other.crashes,
            lost_writes: self.lost_writes + other.lost_writes,
            cut_messages: self.cut_messages + other.cut_messages,
            pauses: self.pauses + other.pauses,
            lives_ended: self.lives_ended + other.lives_ended,
            snapshots: self.snapshots + other.snapshots,
        }
    }

    /// What never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        self.rows().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.rows().iter().map(|(name, count)| format!("{name} {count}")).collect();
        out.write_str(&rows.join(", "))
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong; empty: nothing.
    pub violations: Vec<Violation>,
    /// What happened.
    pub coverage: Coverage,
    /// Of all that happened: the same for the same seed.
    pub trace_hash: u64,
    /// How many lines the trace has.
    pub trace_lines: u64,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
}
