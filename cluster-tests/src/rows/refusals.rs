//! How soon nodes know that a holder is gone, and how fast they refuse calls to its devices from then on.

use std::{sync::Arc, time::Duration};

use super::{Most, Outcome, Target};
use crate::{
    Node,
    history::{CallRecord, Known},
    stage::{Fresh, Stage},
};

/// What a call may be told that comes while nobody holds its device. It was sent nowhere.
const REFUSED: [&str; 2] = ["HOLDER_UNREACHABLE", "NOT_CONNECTED"];
const KNOWN: &str = "loss known";
const REFUSED_AFTER: &str = "then refused after";
/// How long calls come that nobody has waited for.
const FRESH_FOR: Duration = Duration::from_secs(2);

/// A holder's loss is known within a second; a call that comes then is refused faster than that.
pub(super) const TARGETS: [Target; 2] = [
    Target { sample: KNOWN, most: Most::Of(Duration::from_secs(1)) },
    Target { sample: REFUSED_AFTER, most: Most::Of(Duration::from_secs(1)) },
];

/// Begins to send calls to these devices that nobody waits for: those who do may all wait for what the holder has taken.
pub(super) fn fresh_calls(stage: &Stage, through: &[Arc<Node>], devices: &[String]) -> anyhow::Result<Fresh> {
    stage.fresh(through, devices, FRESH_FOR)
}

impl Outcome {
    /// Adds for each node that calls came through how long after `since` it first refused one, and how long each refusal
    /// took from then on. What was sent before is in flight: it may be answered yet, by its device.
    pub(super) fn refusals(
        self,
        calls: &[CallRecord],
        through: &[Arc<Node>],
        devices: &[String],
        since: Duration,
    ) -> Self {
        let (mut known, mut took) = (Vec::new(), Vec::new());
        for node in through {
            let refused = calls.iter().filter(|call| call.through == node.name && call.sent_at > since);
            let refused: Vec<_> =
                refused.filter(|call| devices.contains(&call.device_id) && is_refused(call)).collect();
            let ends = refused.iter().filter_map(|call| call.ended.as_ref().map(|(at, _)| *at));
            let Some(first) = ends.min() else { continue };
            known.push(first.saturating_sub(since));
            let later = refused.iter().filter(|call| call.sent_at > first);
            took.extend(later.filter_map(|call| call.took()));
        }
        self.measured(KNOWN, known).measured(REFUSED_AFTER, took)
    }
}

fn is_refused(call: &CallRecord) -> bool {
    let said = call.ending().filter(|ending| ending.known() == Known::NotExecuted);
    said.and_then(|ending| ending.reason()).is_some_and(|why| REFUSED.contains(&why))
}
