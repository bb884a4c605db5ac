//! A call executes at most once: one that is not idempotent anywhere, one that is by each agent process.

use std::collections::HashMap;

use super::Violation;
use crate::history::{CallRecord, Execution};

const NAME: &str = "at_most_once";

/// No call that is not idempotent was executed twice, anywhere. An idempotent one may run again on another device of
/// its group, or by another process that has taken its device over; but never twice by a process that lived through it
/// all, as those under test do.
pub fn at_most_once(calls: &[CallRecord], executions: &[Execution]) -> Vec<Violation> {
    let idempotent: HashMap<&str, bool> =
        calls.iter().map(|call| (call.request_id.as_str(), call.idempotent)).collect();
    let mut by_call: HashMap<(&str, &str, u64), Vec<&Execution>> = HashMap::new();
    for execution in executions {
        // One that nobody sent counts as not idempotent.
        let repeatable = idempotent.get(execution.request_id.as_str()).copied().unwrap_or(false);
        let (device, process) =
            if repeatable { (execution.device_id.as_str(), execution.process) } else { ("", 0) };
        by_call.entry((&execution.request_id, device, process)).or_default().push(execution);
    }
    let mut found: Vec<_> = by_call
        .into_iter()
        .filter(|(_, runs)| runs.len() > 1)
        .map(|((call, ..), runs)| Violation::of(NAME, format!("{call} ran {} times: {runs:?}", runs.len())))
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{call, execution, lost};

    #[test]
    fn one_execution_of_each_call_is_well() {
        let calls = [call("a", Some(lost())), call("b", Some(lost()))];
        assert_eq!(at_most_once(&calls, &[execution("a", 1, 0, 1), execution("b", 1, 0, 1)]), []);
    }

    #[test]
    fn a_second_execution_is_found() {
        let calls = [call("a", Some(lost()))];
        let found = at_most_once(&calls, &[execution("a", 1, 0, 1), execution("a", 2, 5, 6)]);
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn an_idempotent_call_may_run_in_two_processes_but_not_twice_in_one() {
        let calls = [CallRecord { idempotent: true, ..call("a", Some(lost())) }];
        let elsewhere = Execution { device_id: "other".into(), ..execution("a", 1, 5, 6) };
        assert_eq!(at_most_once(&calls, &[execution("a", 1, 0, 1), elsewhere.clone()]), []);
        let taken_over = Execution { process: 1, ..execution("a", 2, 5, 6) };
        assert_eq!(at_most_once(&calls, &[execution("a", 1, 0, 1), taken_over]), []);
        let found = at_most_once(&calls, &[elsewhere.clone(), elsewhere]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
