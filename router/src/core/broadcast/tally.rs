//! How the results of a broadcast add up.

use crate::outcome::{Outcome, Reason};

/// How the results of a broadcast add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    answered: u64,
    outcomes: [u64; Outcome::ALL.len()],
    reasons: [u64; Reason::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self { answered: 0, outcomes: [0; Outcome::ALL.len()], reasons: [0; Reason::ALL.len()] }
    }
}

impl Tally {
    /// A device answered.
    pub(super) fn answered(&mut self) {
        self.answered += 1;
    }

    /// A device's call failed.
    pub(super) fn failed(&mut self, reason: Reason, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
        self.reasons[reason as usize] += 1;
    }

    /// Devices that answered.
    pub(crate) fn answers(&self) -> u64 {
        self.answered
    }

    /// Devices whose call failed with this outcome.
    pub(crate) fn failures(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// The reasons of failures that there were.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.reasons[reason as usize]))
            .filter(|(_, count)| *count > 0)
    }

    /// All results.
    #[cfg(test)]
    pub(crate) fn results(&self) -> u64 {
        self.answered + self.outcomes.iter().sum::<u64>()
    }
}
