//! No call reaches a handler under an epoch that its device has left behind.

use std::time::Duration;

use super::Violation;
use crate::history::{Execution, OwnershipRecord, Sight};

const NAME: &str = "no_old_epoch";
/// A call that the agent took just before it heard of its newer session may start its handler just after.
const HANDLER_LAG: Duration = Duration::from_millis(250);

/// No handler started for a call under an older epoch than the newest one its device had been told of by then.
pub fn no_old_epoch(executions: &[Execution], owners: &[OwnershipRecord]) -> Vec<Violation> {
    let newest_by = |device: &str, at: Duration| {
        let told = owners.iter().filter(|record| record.device_id == device && record.to + HANDLER_LAG < at);
        told.filter_map(|record| match record.sight {
            Sight::Opened(epoch) => Some(epoch),
            Sight::MaybeOpened | Sight::Read(_) => None,
        })
        .max()
    };
    executions
        .iter()
        .filter_map(|execution| {
            let newest = newest_by(&execution.device_id, execution.started_at)?;
            (execution.epoch < newest).then(|| format!("{execution:?}, after it was told of epoch {newest}"))
        })
        .map(|what| Violation::of(NAME, what))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{execution, sight};

    #[test]
    fn a_call_under_the_newest_epoch_is_well() {
        let owners = [sight(0, 1, Sight::Opened(5)), sight(2, 3, Sight::Opened(9))];
        assert_eq!(no_old_epoch(&[execution("a", 9, 900, 901)], &owners), []);
    }

    #[test]
    fn a_call_under_an_old_one_is_found() {
        let owners = [sight(0, 1, Sight::Opened(5)), sight(2, 3, Sight::Opened(9))];
        assert_eq!(no_old_epoch(&[execution("a", 5, 900, 901)], &owners).len(), 1);
    }

    #[test]
    fn a_handler_may_start_while_the_newer_session_is_being_told() {
        let owners = [sight(0, 1, Sight::Opened(5)), sight(2, 300, Sight::Opened(9))];
        assert_eq!(no_old_epoch(&[execution("a", 5, 320, 321)], &owners), []);
    }
}
