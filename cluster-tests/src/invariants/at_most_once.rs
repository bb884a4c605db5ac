//! A call executes at most once: one that is not idempotent anywhere, one that is on each device.

use std::collections::HashMap;

use super::Violation;
use crate::history::{CallRecord, Execution};

const NAME: &str = "at_most_once";

/// No call that is not idempotent was executed twice, anywhere. An idempotent one may run again on another device of
/// its group, but never twice on a device that lived through it all, as devices under test do.
pub fn at_most_once(calls: &[CallRecord], executions: &[Execution]) -> Vec<Violation> {
    let idempotent: HashMap<&str, bool> =
        calls.iter().map(|call| (call.request_id.as_str(), call.idempotent)).collect();
    let mut by_call: HashMap<(&str, &str), Vec<&Execution>> = HashMap::new();
    for execution in executions {
        // One that nobody sent counts as not idempotent.
        let repeatable = idempotent.get(execution.request_id.as_str()).copied().unwrap_or(false);
        let device = if repeatable { execution.device_id.as_str() } else { "" };
        by_call.entry((&execution.request_id, device)).or_default().push(execution);
    }
    let mut found: Vec<_> = by_call
        .into_iter()
        .filter(|(_, runs)| runs.len() > 1)
        .map(|((call, _), runs)| Violation::of(NAME, format!("{call} ran {} times: {runs:?}", runs.len())))
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
    fn an_idempotent_call_may_run_on_two_devices_but_not_twice_on_one() {
        let calls = [CallRecord { idempotent: true, ..call("a", Some(lost())) }];
        let elsewhere = Execution { device_id: "other".into(), ..execution("a", 1, 5, 6) };
        assert_eq!(at_most_once(&calls, &[execution("a", 1, 0, 1), elsewhere.clone()]), []);
        let found = at_most_once(&calls, &[elsewhere.clone(), elsewhere]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
