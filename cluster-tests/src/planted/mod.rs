//! Planted bugs: protections that are switched off in real nodes, and the stories in which an invariant notices.
//!
//! A story knows its fault and nothing of the bug: it is played once with the protection, and nothing may be broken; and
//! once without. What judges are the invariants of [`crate::invariants`], over what callers, devices and traces saw.

mod cancelled_call;
mod cut_off_holder;
mod late_close;
mod repeated_call;
mod scene;
mod stale_route;
mod superseded_device;
mod traced_opens;

use futures::future::LocalBoxFuture;
use rollcall_registry::faults::Switch;

pub use scene::Scene;

use crate::rows::Outcome;

/// A bug that can be planted.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    /// What is off.
    pub bug: &'static str,
    /// How it is switched off.
    pub switch: Switch,
    /// What is done to the cluster meanwhile.
    pub story: &'static str,
    /// The invariant that breaks.
    pub caught_by: &'static str,
    /// The story.
    pub play: for<'a> fn(&'a Scene) -> LocalBoxFuture<'a, anyhow::Result<Outcome>>,
}

/// All of them.
pub const BUGS: &[Planted] = &[
    stale_route::BUG,
    late_close::BUG,
    repeated_call::BUG,
    traced_opens::BUG,
    cut_off_holder::BUG,
    superseded_device::BUG,
    cancelled_call::BUG,
];

/// Whether this one can be shown here: a trace of system calls is not permitted everywhere.
pub fn is_permitted(bug: &Planted) -> bool {
    bug.switch != Switch::SyncsSkipped || traced_opens::is_permitted()
}

/// Which invariant catches which bug, as the document shows it.
pub fn table() -> String {
    let line = |bug: &Planted| {
        format!("| {} | `{}` | {} | `{}` |\n", bug.bug, bug.switch.word(), bug.story, bug.caught_by)
    };
    let head = "| planted bug | switch | story | caught by |\n|---|---|---|---|\n";
    head.to_owned() + &BUGS.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_which_invariant_catches_which_bug() {
        let document = include_str!("../../README.md");
        assert!(document.contains(&table()), "README.md is to contain:\n{}", table());
    }

    #[test]
    fn every_protection_that_can_be_switched_off_is_missed_by_somebody() {
        let off = Switch::ALL.into_iter().filter(|switch| switch.is_protection_off());
        for switch in off {
            assert!(BUGS.iter().any(|bug| bug.switch == switch), "{switch:?}");
        }
    }
}
