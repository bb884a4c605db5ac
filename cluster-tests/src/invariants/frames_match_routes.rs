//! No call reaches a device under another epoch than the one that it was routed by.

use super::Violation;
use crate::history::{CallRecord, Ending, ReplicaSight};

const NAME: &str = "frames_match_routes";

/// A node routes by its own replica. Where that said the same of a device before a call to it was sent and after it had
/// ended, it said so all the time, as epochs only rise: then the call was answered under just that epoch, or not at all.
pub fn frames_match_routes(calls: &[CallRecord], sights: &[ReplicaSight]) -> Vec<Violation> {
    calls.iter().filter_map(|call| wrong(call, sights)).map(|what| Violation::of(NAME, what)).collect()
}

fn wrong(call: &CallRecord, sights: &[ReplicaSight]) -> Option<String> {
    let (ended_at, Ending::Answered { epoch, .. }) = call.ended.as_ref()? else { return None };
    let of_call = |sight: &&ReplicaSight| sight.by == call.through && sight.device_id == call.device_id;
    let before = sights.iter().filter(of_call).rfind(|sight| sight.to <= call.sent_at)?;
    let after = sights.iter().filter(of_call).find(|sight| sight.from >= *ended_at)?;
    (before.epoch == after.epoch && before.epoch != Some(*epoch))
        .then(|| format!("{call:?} was routed by {:?}", before.epoch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{answered, call, ms};

    fn sight(at: u64, epoch: u64) -> ReplicaSight {
        let by = "n1".into();
        ReplicaSight { by, device_id: "d".into(), from: ms(at), to: ms(at), epoch: Some(epoch) }
    }

    #[test]
    fn a_call_by_its_route_is_well_and_so_is_one_while_the_route_changed() {
        let calls = [call("a", Some(answered()))];
        assert_eq!(frames_match_routes(&calls, &[sight(0, 1), sight(20, 1)]), []);
        assert_eq!(frames_match_routes(&calls, &[sight(0, 0), sight(20, 1)]), []);
        assert_eq!(frames_match_routes(&calls, &[sight(20, 7)]), []);
    }

    #[test]
    fn an_answer_under_another_epoch_than_the_route_is_found() {
        let calls = [call("a", Some(answered()))];
        assert_eq!(frames_match_routes(&calls, &[sight(0, 0), sight(20, 0)]).len(), 1);
    }
}
