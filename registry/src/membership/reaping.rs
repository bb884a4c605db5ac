//! Which learner has been down for so long that it counts as gone. Pure; run by the leader.

use std::{collections::BTreeMap, time::Duration};

use crate::{clock::Moment, model::ids::NodeId};

/// Remembers since when learners are down, by the leader's own clock: a new leader begins anew.
#[derive(Debug, Default)]
pub struct Reaping {
    down_since: BTreeMap<NodeId, Moment>,
}

impl Reaping {
    /// A learner that is gone: of those that are down now, one that was down at each look for `ttl`. Zero: none ever is.
    pub fn next(&mut self, now: Moment, down: &[NodeId], ttl: Duration) -> Option<NodeId> {
        self.down_since.retain(|id, _| down.contains(id));
        for id in down {
            self.down_since.entry(*id).or_insert(now);
        }
        let gone = |since: &Moment| !ttl.is_zero() && now.since(*since) >= ttl;
        self.down_since.iter().find(|(_, since)| gone(since)).map(|(id, _)| *id)
    }

    /// This node does not lead: what it has seen says nothing any more.
    pub fn clear(&mut self) {
        self.down_since.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1000)
    }

    #[test]
    fn a_learner_is_gone_once_it_was_down_for_long_enough() {
        let (mut reaping, down) = (Reaping::default(), [NodeId(4)]);
        assert_eq!(reaping.next(at(0), &down, TTL), None);
        assert_eq!(reaping.next(at(599), &down, TTL), None);
        assert_eq!(reaping.next(at(600), &down, TTL), Some(NodeId(4)));
    }

    #[test]
    fn one_that_comes_back_or_another_leader_begins_anew() {
        let (mut reaping, down) = (Reaping::default(), [NodeId(4)]);
        reaping.next(at(0), &down, TTL);
        reaping.next(at(300), &[], TTL);
        assert_eq!(reaping.next(at(700), &down, TTL), None);
        reaping.clear();
        assert_eq!(reaping.next(at(1_400), &down, TTL), None);
        assert_eq!(reaping.next(at(2_000), &down, TTL), Some(NodeId(4)));
        assert_eq!(reaping.next(at(9_000), &down, Duration::ZERO), None, "never");
    }
}
