//! How many devices a node gives to which others, so that all have about as many. Every node finds its part of the same
//! plan from the same counts.

use rollcall_registry::model::ids::NodeId;

use crate::limits::BALANCE_TOLERANCE_PERCENT;

/// What a node has, and what it would give away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Balance {
    /// The devices that it holds.
    pub held: u64,
    /// As many as each node would hold if all held the same, rounded up.
    pub share: u64,
    /// How many it would give to whom. Empty: it has no more than its share, but for
    /// [`BALANCE_TOLERANCE_PERCENT`].
    pub gives: Vec<(NodeId, u64)>,
}

impl Balance {
    /// How many it would give away altogether.
    pub fn surplus(&self) -> u64 {
        self.gives.iter().map(|(_, devices)| devices).sum()
    }

    /// Of the node `me` among those that take devices, each with what it holds.
    pub(crate) fn of(me: NodeId, nodes: &[(NodeId, u64)]) -> Self {
        let held = nodes.iter().find(|(node, _)| *node == me).map_or(0, |(_, held)| *held);
        let total: u64 = nodes.iter().map(|(_, held)| held).sum();
        let share = total.div_ceil((nodes.len() as u64).max(1));
        let mut balance = Self { held, share, gives: Vec::new() };
        if held > share + share * BALANCE_TOLERANCE_PERCENT / 100 {
            balance.gives = deal(held - share, share, nodes);
        }
        balance
    }
}

/// Deals a surplus to those below the share, in proportion to what they lack: other nodes that give deal the same way.
fn deal(surplus: u64, share: u64, nodes: &[(NodeId, u64)]) -> Vec<(NodeId, u64)> {
    let mut lacks: Vec<(NodeId, u64)> =
        nodes.iter().filter(|(_, held)| *held < share).map(|(node, held)| (*node, share - held)).collect();
    lacks.sort_unstable_by_key(|(node, lack)| (std::cmp::Reverse(*lack), node.0));
    let all: u128 = lacks.iter().map(|(_, lack)| u128::from(*lack)).sum();
    let part = |lack: u64| (u128::from(surplus) * u128::from(lack)).checked_div(all).unwrap_or_default();
    let parts: Vec<_> =
        lacks.iter().map(|(node, lack)| (*node, u64::try_from(part(*lack)).unwrap_or(0))).collect();
    // What rounding left over: less than one for each.
    let over = surplus.saturating_sub(parts.iter().map(|(_, part)| part).sum());
    let gives = parts.into_iter().zip(0..).map(|((node, part), at)| (node, part + u64::from(at < over)));
    gives.filter(|(_, part)| *part > 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nodes(held: &[u64]) -> Vec<(NodeId, u64)> {
        held.iter().zip(1..).map(|(held, id)| (NodeId(id), *held)).collect()
    }

    fn gives(held: &[u64]) -> Vec<Vec<(u64, u64)>> {
        let nodes = nodes(held);
        let plain = |(node, devices): (NodeId, u64)| (node.0, devices);
        nodes.iter().map(|(me, _)| Balance::of(*me, &nodes).gives.into_iter().map(plain).collect()).collect()
    }

    #[test]
    fn who_has_more_than_a_share_gives_the_rest_to_those_who_lack() {
        assert_eq!(gives(&[500, 500, 0]), [vec![(3, 166)], vec![(3, 166)], vec![]]);
        assert_eq!(gives(&[900, 200, 100]), [vec![(3, 300), (2, 200)], vec![], vec![]]);
        assert_eq!(gives(&[3, 0, 0]), [vec![(2, 1), (3, 1)], vec![], vec![]]);
    }

    #[test]
    fn who_is_near_the_share_gives_nothing() {
        assert_eq!(gives(&[100, 100, 100]), vec![vec![]; 3]);
        assert_eq!(gives(&[105, 100, 95]), vec![vec![]; 3], "within the tolerance");
        assert_eq!(gives(&[2, 1, 1]), vec![vec![]; 3], "one device more than the others is no surplus");
        assert_eq!(gives(&[70]), [vec![]], "there is nobody to take them");
        assert_eq!(Balance::of(NodeId(1), &[]), Balance::default());
    }

    proptest! {
        #[test]
        fn after_the_moves_nobody_is_far_above_the_share(held in prop::collection::vec(0..10_000_u64, 1..8)) {
            let nodes = nodes(&held);
            let mut after = held.clone();
            for (me, held) in &nodes {
                let balance = Balance::of(*me, &nodes);
                prop_assert!(balance.gives.is_empty() || held - balance.surplus() == balance.share);
                for (to, devices) in balance.gives {
                    prop_assert!(to != *me);
                    after[(to.0 - 1) as usize] += devices;
                    after[(me.0 - 1) as usize] -= devices;
                }
            }
            let share = held.iter().sum::<u64>().div_ceil(held.len() as u64);
            // Each that gives rounds once for each that takes.
            let most = share + share / 10 + held.len() as u64;
            prop_assert!(after.iter().all(|held| *held <= most), "{held:?} became {after:?}");
        }
    }
}
