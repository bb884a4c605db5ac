//! A node that has lost touch with its cluster for longer than its lease delivers no forwarded call.

use std::time::Duration;

use super::Violation;
use crate::history::{CallRecord, Ending};

const NAME: &str = "fenced_delivers_nothing";

/// A time in which a node surely had no lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fenced {
    /// The node.
    pub node: String,
    /// From when on: a whole lease after it was cut off.
    pub from: Duration,
    /// Until when: before it was connected again.
    pub to: Duration,
}

/// No call that was sent while its holder was fenced, through another node, was answered by that holder. Not to be asked
/// of nodes with `isolation = serve_all`.
pub fn fenced_delivers_nothing(calls: &[CallRecord], fenced: &[Fenced]) -> Vec<Violation> {
    let delivered = |call: &&CallRecord| {
        let Some((ended_at, Ending::Answered { node, .. })) = &call.ended else { return false };
        let within = |time: &Fenced| {
            time.node == *node
                && time.node != call.through
                && call.sent_at >= time.from
                && *ended_at <= time.to
        };
        fenced.iter().any(within)
    };
    calls.iter().filter(delivered).map(|call| Violation::of(NAME, format!("{call:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{answered, call, ms};

    fn fenced(from: u64) -> Fenced {
        Fenced { node: "n1".into(), from: ms(from), to: ms(100) }
    }

    #[test]
    fn a_forward_to_a_fenced_node_is_found_and_a_call_of_its_own_is_not() {
        let own = call("a", Some(answered()));
        let forwarded = CallRecord { through: "n2".into(), ..own.clone() };
        assert_eq!(fenced_delivers_nothing(&[own], &[fenced(0)]), []);
        assert_eq!(fenced_delivers_nothing(std::slice::from_ref(&forwarded), &[fenced(5)]), []);
        assert_eq!(fenced_delivers_nothing(&[forwarded], &[fenced(0)]).len(), 1);
    }
}
