//! Nothing is acknowledged before a quorum has made it durable.

use std::collections::BTreeSet;

use super::Violation;
use crate::history::{OwnershipRecord, Sight, SyncRecord};

const NAME: &str = "acknowledged_opens_synced";

/// Between the asking for a session and its telling, a majority of the voters has made its log durable: a trace of their
/// system calls says so. To be asked of opens that came one after the other.
pub fn acknowledged_opens_synced(
    owners: &[OwnershipRecord],
    syncs: &[SyncRecord],
    voters: usize,
) -> Vec<Violation> {
    let unsynced = |open: &OwnershipRecord| {
        let within = syncs.iter().filter(|sync| sync.at >= open.from && sync.at <= open.to);
        let by: BTreeSet<_> = within.map(|sync| sync.node.as_str()).collect();
        let opened = matches!(open.sight, Sight::Opened(_));
        (opened && by.len() <= voters / 2).then(|| format!("{open:?} was made durable by {by:?} alone"))
    };
    owners.iter().filter_map(unsynced).map(|what| Violation::of(NAME, what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{ms, sight};

    #[test]
    fn an_open_that_one_node_alone_made_durable_is_found() {
        let opens = [sight(10, 20, Sight::Opened(1))];
        let sync = |node: &str, at| SyncRecord { node: node.into(), at: ms(at) };
        let well = [sync("n1", 12), sync("n2", 18)];
        assert_eq!(acknowledged_opens_synced(&opens, &well, 3), []);
        let late = [sync("n1", 12), sync("n1", 15), sync("n2", 21)];
        assert_eq!(acknowledged_opens_synced(&opens, &late, 3).len(), 1);
    }
}
