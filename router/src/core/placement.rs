//! Which node a group's call goes to: this one while it has room, else the better of two drawn by capacity.

use rollcall_registry::model::ids::NodeId;

/// What is known of a node that holds matching devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which.
    pub(crate) node: NodeId,
    /// The calls that its matching devices take at once; at least 1.
    pub(crate) capacity: u64,
    /// The calls in flight on its devices, as last reported, plus those sent there since.
    pub(crate) load: u64,
}

impl Holder {
    fn is_below(&self, other: &Self) -> bool {
        u128::from(self.load) * u128::from(other.capacity)
            < u128::from(other.load) * u128::from(self.capacity)
    }
}

/// The better of two holders drawn by capacity. `draws` are random numbers. `None`: there are no holders.
///
/// Two choices are enough to spread load well, and unlike the best of all they do not send every caller to the same
/// node between two reports (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
pub(crate) fn choose(holders: &[Holder], draws: [u64; 2]) -> Option<NodeId> {
    let first = drawn(holders, draws[0])?;
    let second = drawn(holders, draws[1])?;
    Some(if second.is_below(first) { second.node } else { first.node })
}

fn drawn(holders: &[Holder], draw: u64) -> Option<&Holder> {
    let total: u64 = holders.iter().map(|holder| holder.capacity).sum();
    let mut left = draw.checked_rem(total)?;
    holders.iter().find(|holder| {
        let hit = left < holder.capacity;
        left = left.saturating_sub(holder.capacity);
        hit
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(node: u64, capacity: u64, load: u64) -> Holder {
        Holder { node: NodeId(node), capacity, load }
    }

    #[test]
    fn the_less_loaded_of_the_two_is_taken() {
        let holders = [holder(1, 10, 9), holder(2, 10, 1)];
        assert_eq!(choose(&holders, [0, 10]), Some(NodeId(2)));
        assert_eq!(choose(&holders, [10, 0]), Some(NodeId(2)));
        assert_eq!(choose(&holders, [0, 0]), Some(NodeId(1)));
    }

    #[test]
    fn load_counts_by_share_of_capacity() {
        let holders = [holder(1, 100, 20), holder(2, 10, 5)];
        assert_eq!(choose(&holders, [0, 100]), Some(NodeId(1)));
    }

    proptest! {
        #[test]
        fn only_holders_are_chosen(
            capacities in prop::collection::vec(1..100u64, 1..8), load in 0..100u64, draws: [u64; 2],
        ) {
            let holders: Vec<_> = capacities.iter().zip(1..).map(|(&capacity, node)| holder(node, capacity, load)).collect();
            let chosen = choose(&holders, draws).expect("there are holders");
            prop_assert!(holders.iter().any(|holder| holder.node == chosen));
            prop_assert_eq!(choose(&[], draws), None);
        }
    }
}
