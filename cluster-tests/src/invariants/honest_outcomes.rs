//! Outcomes are honest: `NOT_EXECUTED` means that no handler started, `EXECUTED` and an answer that one did.

use std::collections::HashSet;

use super::Violation;
use crate::history::{CallRecord, Execution, Known};

const NAME: &str = "honest_outcomes";

/// What callers were told agrees with what devices did. A failure without the gateway's word says nothing.
pub fn honest_outcomes(calls: &[CallRecord], executions: &[Execution]) -> Vec<Violation> {
    let ran: HashSet<&str> = executions.iter().map(|execution| execution.request_id.as_str()).collect();
    let lie = |call: &CallRecord| {
        let ending = call.ending()?;
        let ran = ran.contains(call.request_id.as_str());
        match ending.known() {
            Known::NotExecuted if ran => Some(format!("{} ran, and ended {ending:?}", call.request_id)),
            Known::Executed if !ran => Some(format!("{} never ran, and ended {ending:?}", call.request_id)),
            Known::NotExecuted | Known::Executed | Known::Unknown => None,
        }
    };
    calls.iter().filter_map(lie).map(|what| Violation::of(NAME, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{answered, call, execution, lost, refused};

    #[test]
    fn unknown_may_be_either() {
        let calls = [call("a", Some(refused(Known::Unknown))), call("b", Some(lost()))];
        assert_eq!(honest_outcomes(&calls, &[execution("a", 1, 0, 1)]), []);
    }

    #[test]
    fn not_executed_after_an_execution_is_found() {
        let calls = [call("a", Some(refused(Known::NotExecuted)))];
        assert_eq!(honest_outcomes(&calls, &[]), []);
        assert_eq!(honest_outcomes(&calls, &[execution("a", 1, 0, 1)]).len(), 1);
    }

    #[test]
    fn an_answer_that_no_handler_gave_is_found() {
        for ending in [answered(), refused(Known::Executed)] {
            let calls = [call("a", Some(ending))];
            assert_eq!(honest_outcomes(&calls, &[execution("a", 1, 0, 1)]), []);
            assert_eq!(honest_outcomes(&calls, &[]).len(), 1);
        }
    }
}
