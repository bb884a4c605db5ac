//! Calls sent = calls answered, by outcome: none lost in the accounting.

use std::collections::HashMap;

use super::Violation;
use crate::history::CallRecord;

const NAME: &str = "calls_accounted";

/// Every call has exactly one ending, and a name of its own unless it may be repeated. To be asked when all callers have
/// come back.
pub fn calls_accounted(calls: &[CallRecord]) -> Vec<Violation> {
    let mut sent: HashMap<&str, usize> = HashMap::new();
    for call in calls.iter().filter(|call| !call.idempotent) {
        *sent.entry(&call.request_id).or_default() += 1;
    }
    let silent = calls.iter().filter(|call| call.ended.is_none()).map(|call| {
        let what = format!(
            "{} to {:?} through {}, sent at {:?}, was never answered",
            call.request_id, call.device_id, call.through, call.sent_at
        );
        Violation::of(NAME, what)
    });
    let twice = sent.iter().filter(|(_, times)| **times > 1);
    let twice = twice.map(|(id, times)| Violation::of(NAME, format!("{id} was sent {times} times")));
    silent.chain(twice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        history::Known,
        invariants::testing::{answered, call, lost, refused},
    };

    #[test]
    fn every_way_to_end_is_an_end() {
        let calls =
            [call("a", Some(answered())), call("b", Some(refused(Known::Unknown))), call("c", Some(lost()))];
        assert_eq!(calls_accounted(&calls), []);
    }

    #[test]
    fn a_silent_call_is_found() {
        let found = calls_accounted(&[call("a", Some(answered())), call("b", None)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.starts_with("b "), "{found:?}");
    }

    #[test]
    fn a_name_used_twice_is_found() {
        let found = calls_accounted(&[call("a", Some(answered())), call("a", Some(answered()))]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
