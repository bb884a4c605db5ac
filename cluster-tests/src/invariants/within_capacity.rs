//! No device runs more calls than its capacity.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::Execution;

const NAME: &str = "within_capacity";

/// No device of this capacity ever ran more handlers at once. An execution without an end counts to the last moment.
pub fn within_capacity(executions: &[Execution], capacity: usize) -> Vec<Violation> {
    let mut edges: BTreeMap<&str, Vec<(std::time::Duration, i64)>> = BTreeMap::new();
    for execution in executions {
        let of_device = edges.entry(&execution.device_id).or_default();
        of_device.push((execution.started_at, 1));
        of_device.extend(execution.ended_at.map(|at| (at, -1)));
    }
    let most = |mut edges: Vec<(std::time::Duration, i64)>| {
        // Ends before beginnings of the same moment.
        edges.sort_unstable();
        let mut running = 0;
        edges.into_iter().fold(0, |most, (_, step)| {
            running += step;
            i64::max(most, running)
        })
    };
    edges
        .into_iter()
        .map(|(device, edges)| (device, most(edges)))
        .filter(|(_, most)| usize::try_from(*most).is_ok_and(|most| most > capacity))
        .map(|(device, most)| Violation::of(NAME, format!("{device} ran {most} at once, of {capacity}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::execution;

    #[test]
    fn one_after_the_other_is_one_at_a_time() {
        assert_eq!(within_capacity(&[execution("a", 1, 0, 5), execution("b", 1, 5, 9)], 1), []);
    }

    #[test]
    fn one_too_many_is_found() {
        let runs = [execution("a", 1, 0, 5), execution("b", 1, 4, 9)];
        assert_eq!(within_capacity(&runs, 2), []);
        assert_eq!(within_capacity(&runs, 1).len(), 1);
    }
}
