//! Which node a group's call goes to: this one up to its share while it has room, else the better of two by capacity.

use rollcall_registry::model::ids::NodeId;

/// What is known of another node that holds matching devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Which.
    pub(crate) node: NodeId,
    /// The calls that its matching devices take at once; at least 1.
    pub(crate) capacity: u64,
    /// The calls in flight on its devices, as last reported, plus those sent there since.
    pub(crate) load: u64,
    /// Whether it should be spared: it is overloaded.
    pub(crate) pressed: Pressed,
}

/// Whether a node should be spared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressed {
    /// It need not.
    No,
    /// Others first.
    Yes,
}

/// What this node has itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    /// The calls that its matching devices take at once.
    pub(crate) capacity: u64,
    /// Whether one of them can start a call now.
    pub(crate) has_room: bool,
}

/// Everything that a placement depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// `None`: this node holds no matching device, or was tried.
    pub(crate) own: Option<Own>,
    /// The other nodes that can be reached and were not tried.
    pub(crate) holders: &'a [Holder],
    /// Nodes that callers may come to.
    pub(crate) nodes: u64,
    /// Whether other nodes were tried before.
    pub(crate) again: bool,
}

/// Where a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// To a device of this node.
    Here,
    /// To a device of another node.
    There(NodeId),
    /// There is no node to go to.
    Nowhere,
}

/// Numbers that cover 0 to 2^64 evenly: a Weyl sequence by the golden ratio. Independent draws would need ten times
/// the calls for the same fairness.
#[derive(Debug)]
pub(crate) struct Draws(std::sync::atomic::AtomicU64);

impl Draws {
    /// Starts somewhere.
    pub(crate) fn new(start: u64) -> Self {
        Self(start.into())
    }

    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, std::sync::atomic::Ordering::Relaxed)
    }
}

impl Holder {
    /// Whether it is worth comparing. One call more or less on few devices is a large share of them: compared by that,
    /// nodes with few devices would get less than theirs.
    fn is_busy(&self) -> bool {
        self.pressed == Pressed::Yes || self.load * 2 > self.capacity
    }

    fn is_below(&self, other: &Self) -> bool {
        let share = u128::from(self.load) * u128::from(other.capacity);
        (self.pressed, share) < (other.pressed, u128::from(other.load) * u128::from(self.capacity))
    }
}

/// Chooses where a call goes. `draw` is the next of [`Draws`], `other` any random number.
///
/// With callers spread evenly over `nodes`, each of them gets the same share of the calls. A node whose devices are
/// less than that share of the group keeps as much as they are, and passes the rest to those that have more: so no
/// device gets more than an equal one elsewhere. While this node has room, that is the only reason to go elsewhere.
///
/// Without room, or after another node could not take it, the better of two holders drawn by capacity is taken. Two choices are enough to spread load well, and
/// unlike the best of all they do not send every caller to the same node between two reports (Mitzenmacher, "The Power
/// of Two Choices in Randomized Load Balancing", 2001).
pub(crate) fn choose(scene: Scene<'_>, draw: u64, other: u64) -> Placed {
    let by_capacity = |draw| better_of_two(scene.holders, |holder| holder.capacity, draw, other);
    let own = match scene.own {
        Some(Own { has_room: false, .. }) => return by_capacity(draw).map_or(Placed::Here, Placed::There),
        Some(_) if scene.again => return Placed::Here,
        None if scene.again => return by_capacity(draw).map_or(Placed::Nowhere, Placed::There),
        Some(own) => own.capacity,
        None => 0,
    };
    let total: u64 = own + scene.holders.iter().map(|holder| holder.capacity).sum::<u64>();
    let kept = ((u128::from(own) * u128::from(scene.nodes)) << 64) / u128::from(total.max(1));
    if u128::from(draw) < kept {
        return Placed::Here;
    }
    let rest = u128::from(draw) - kept;
    let draw = u64::try_from((rest << 64) / ((1 << 64) - kept)).unwrap_or(u64::MAX);
    let surplus = |holder: &Holder| (holder.capacity * scene.nodes).saturating_sub(total);
    match better_of_two(scene.holders, surplus, draw, other) {
        Some(node) => Placed::There(node),
        None if scene.own.is_some() => Placed::Here,
        None => by_capacity(draw).map_or(Placed::Nowhere, Placed::There),
    }
}

fn better_of_two(
    holders: &[Holder],
    weight: impl Fn(&Holder) -> u64,
    draw: u64,
    other: u64,
) -> Option<NodeId> {
    let first = drawn(holders, &weight, draw)?;
    let second = drawn(holders, &weight, other)?;
    Some(if first.is_busy() && second.is_below(first) { second.node } else { first.node })
}

fn drawn<'a>(holders: &'a [Holder], weight: &impl Fn(&Holder) -> u64, draw: u64) -> Option<&'a Holder> {
    let total: u64 = holders.iter().map(weight).sum();
    let mut left = u64::try_from((u128::from(draw) * u128::from(total)) >> 64).ok()?;
    holders.iter().find(|holder| {
        let hit = left < weight(holder);
        left = left.saturating_sub(weight(holder));
        hit
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holder(node: u64, capacity: u64, load: u64) -> Holder {
        Holder { node: NodeId(node), capacity, load, pressed: Pressed::No }
    }

    fn without_own(holders: &[Holder]) -> Scene<'_> {
        Scene { own: None, holders, nodes: 3, again: false }
    }

    const LOW: u64 = 0;
    const HIGH: u64 = u64::MAX;

    #[test]
    fn the_less_loaded_of_the_two_is_taken() {
        let holders = [holder(1, 10, 9), holder(2, 10, 1)];
        let chosen = |draw, other| choose(without_own(&holders), draw, other);
        assert_eq!(chosen(LOW, HIGH), Placed::There(NodeId(2)));
        assert_eq!(chosen(HIGH, LOW), Placed::There(NodeId(2)));
        assert_eq!(chosen(LOW, LOW), Placed::There(NodeId(1)));
    }

    #[test]
    fn load_counts_by_share_of_capacity() {
        let holders = [holder(1, 100, 20), holder(2, 10, 5)];
        assert_eq!(choose(without_own(&holders), LOW, HIGH), Placed::There(NodeId(1)));
    }

    #[test]
    fn an_overloaded_node_is_spared_whatever_its_devices_have_to_do() {
        let holders = [Holder { pressed: Pressed::Yes, ..holder(1, 10, 0) }, holder(2, 10, 9)];
        assert_eq!(choose(without_own(&holders), LOW, HIGH), Placed::There(NodeId(2)));
    }

    #[test]
    fn this_node_is_preferred_while_it_has_room_and_no_less_than_its_share() {
        let holders = [holder(2, 10, 0), holder(3, 10, 0)];
        let own = Some(Own { capacity: 10, has_room: true });
        let scene = Scene { own, holders: &holders, nodes: 3, again: false };
        for draw in [LOW, HIGH / 2, HIGH] {
            assert_eq!(choose(scene, draw, draw), Placed::Here);
        }
        let full = Scene { own: Some(Own { capacity: 10, has_room: false }), ..scene };
        assert_eq!(choose(full, LOW, LOW), Placed::There(NodeId(2)));
        assert_eq!(choose(Scene { holders: &[], ..full }, LOW, LOW), Placed::Here);
    }

    #[test]
    fn a_node_with_few_devices_passes_on_what_would_be_more_than_their_share() {
        let holders = [holder(2, 30, 0)];
        let own = Some(Own { capacity: 10, has_room: true });
        let scene = Scene { own, holders: &holders, nodes: 2, again: false };
        assert_eq!(choose(scene, HIGH / 2 - 1, 0), Placed::Here);
        assert_eq!(choose(scene, HIGH / 2 + 1, 0), Placed::There(NodeId(2)));
        assert_eq!(choose(Scene { again: true, ..scene }, HIGH, 0), Placed::Here);
    }

    proptest! {
        #[test]
        fn only_nodes_with_devices_are_chosen(
            capacities in prop::collection::vec(1..100u64, 0..8), load in 0..100u64, draw: u64, other: u64,
            own in prop::option::of((1..100u64, any::<bool>())), nodes in 1..10u64, again: bool,
        ) {
            let holders: Vec<_> = capacities.iter().zip(2..).map(|(&capacity, node)| holder(node, capacity, load)).collect();
            let own = own.map(|(capacity, has_room)| Own { capacity, has_room });
            match choose(Scene { own, holders: &holders, nodes, again }, draw, other) {
                Placed::Here => prop_assert!(own.is_some()),
                Placed::There(node) => prop_assert!(holders.iter().any(|holder| holder.node == node)),
                Placed::Nowhere => prop_assert!(own.is_none() && holders.is_empty()),
            }
        }
    }
}
