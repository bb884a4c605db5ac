//! What a node that belongs to no cluster does, from what the addresses in its join list answer. Pure.
//!
//! Safety rests on durable consent: each founding member consents to one proposal, ever, and a cluster is initialised
//! only with the consent of all. Two candidates can therefore never both succeed; at worst nobody does, and says why.

use std::collections::BTreeMap;

use crate::model::{
    command::Addresses,
    ids::{ClusterId, NodeId, StorageId},
};

/// What an address in the join list says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its stable name.
    pub name: String,
    /// Its data folder's id.
    pub storage: StorageId,
    /// Where it is reached.
    pub addresses: Addresses,
    /// The founded cluster it is a member of.
    pub member_of: Option<(ClusterId, NodeId)>,
    /// The candidate whose proposal it has consented to, while that cluster is not founded.
    pub consented_to: Option<String>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A cluster is there: ask these addresses, in this order, to let us in.
    Join {
        /// The peer addresses of members.
        addresses: Vec<String>,
    },
    /// All founding members are here and empty, and this node is the one to propose; in the order of their names.
    Propose(Vec<Description>),
    /// Nothing to do yet; for people.
    Wait(String),
    /// It cannot work like this; for people.
    Stop(String),
}

/// Decides from the answers to a round of questions.
///
/// `answers` has one entry per address of the join list, in its order; `None`: it did not answer. `expect` is how many
/// nodes found the cluster together; 0: this node never founds one.
pub fn decide(me: &Description, expect: usize, answers: &[(String, Option<Description>)]) -> Step {
    let others = answers.iter().filter_map(|(address, answer)| answer.as_ref().map(|it| (address, it)));
    let belonging = others.clone().filter(|(_, it)| it.member_of.is_some());
    let addresses: Vec<_> = belonging.map(|(address, _)| address.clone()).collect();
    if !addresses.is_empty() {
        return Step::Join { addresses };
    }
    if expect == 0 {
        return Step::Wait("no address of the join list belongs to a cluster yet".to_owned());
    }
    let mut members: BTreeMap<&str, &Description> = BTreeMap::new();
    for (address, answer) in others {
        if let Some(twin) = members.insert(&answer.name, answer)
            && twin.storage != answer.storage
        {
            return Step::Stop(format!("{address} has the same name as another node: {}", answer.name));
        }
    }
    match members.get(me.name.as_str()) {
        Some(found) if found.storage != me.storage => {
            return Step::Stop(format!("another node of the join list has this node's name: {}", me.name));
        }
        _ if members.len() < expect => {
            let silent =
                answers.iter().filter(|(_, answer)| answer.is_none()).map(|(address, _)| address.as_str());
            let silent = silent.collect::<Vec<_>>().join(", ");
            return Step::Wait(format!(
                "{} of {expect} nodes are here; no answer from {silent}",
                members.len()
            ));
        }
        None => {
            return Step::Wait(
                "this node is not in its join list, so it waits to join what the others found".to_owned(),
            );
        }
        Some(_) => {}
    }
    if let Some(candidate) = me.consented_to.as_deref().filter(|candidate| *candidate != me.name) {
        return Step::Wait(format!("consented to the founding by {candidate}; waiting for it"));
    }
    // This node has consented to nothing, so it was not asked, or has lost its data folder since.
    let earlier = members.values().find(|it| it.name != me.name && it.consented_to.is_some());
    if let (None, Some(earlier)) = (&me.consented_to, earlier) {
        let candidate = earlier.consented_to.as_deref().unwrap_or_default();
        return Step::Wait(format!(
            "{} has consented to a founding by {candidate}; waiting for it. If nothing comes of it: \
             empty the data folders of all founding nodes, then start them again",
            earlier.name
        ));
    }
    match members.first_key_value() {
        Some((first, _)) if *first == me.name => Step::Propose(members.into_values().cloned().collect()),
        Some((first, _)) => Step::Wait(format!("all {expect} nodes are here; {first} founds the cluster")),
        None => Step::Wait("nobody is here".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(name: &str) -> Description {
        Description {
            name: name.to_owned(),
            storage: StorageId(name.bytes().map(u128::from).sum()),
            addresses: Addresses::default(),
            member_of: None,
            consented_to: None,
        }
    }

    fn answers(of: &[Option<Description>]) -> Vec<(String, Option<Description>)> {
        (1..).zip(of).map(|(at, answer)| (format!("h{at}:7402"), answer.clone())).collect()
    }

    #[test]
    fn who_sees_a_member_joins_it_and_never_founds() {
        let member = Description { member_of: Some((ClusterId(9), NodeId(1))), ..empty("n2") };
        let seen = answers(&[Some(empty("n1")), Some(member), Some(empty("n3"))]);
        assert_eq!(decide(&empty("n1"), 3, &seen), Step::Join { addresses: vec!["h2:7402".to_owned()] });
    }

    #[test]
    fn the_lowest_name_proposes_when_all_are_here_and_empty() {
        let seen = answers(&[Some(empty("n3")), Some(empty("n1")), Some(empty("n2"))]);
        let Step::Propose(members) = decide(&empty("n1"), 3, &seen) else { panic!("n1 does not propose") };
        assert_eq!(members.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["n1", "n2", "n3"]);
        assert!(matches!(decide(&empty("n2"), 3, &seen), Step::Wait(_)));
    }

    #[test]
    fn nobody_founds_while_one_is_missing() {
        let seen = answers(&[Some(empty("n1")), None, Some(empty("n3"))]);
        let Step::Wait(reason) = decide(&empty("n1"), 3, &seen) else { panic!("n1 does not wait") };
        assert!(reason.contains("h2:7402"), "{reason}");
    }

    #[test]
    fn a_node_outside_the_list_only_joins() {
        let seen = answers(&[Some(empty("n1")), Some(empty("n2")), Some(empty("n3"))]);
        assert!(matches!(decide(&empty("n0"), 3, &seen), Step::Wait(_)));
        assert!(matches!(decide(&empty("n1"), 0, &seen), Step::Wait(_)));
    }

    #[test]
    fn a_node_that_consented_to_another_never_proposes() {
        let me = Description { consented_to: Some("n0".to_owned()), ..empty("n1") };
        let seen = answers(&[Some(me.clone()), Some(empty("n2")), Some(empty("n3"))]);
        assert!(matches!(decide(&me, 3, &seen), Step::Wait(_)));
    }

    #[test]
    fn a_node_that_lost_its_folder_does_not_propose_to_those_who_have_consented() {
        let other = Description { consented_to: Some("n1".to_owned()), ..empty("n2") };
        let seen = answers(&[Some(empty("n1")), Some(other), Some(empty("n3"))]);
        let Step::Wait(reason) = decide(&empty("n1"), 3, &seen) else { panic!("n1 does not wait") };
        assert!(reason.contains("n2 has consented to a founding by n1"), "{reason}");
    }

    #[test]
    fn two_nodes_of_one_name_stop_the_founding() {
        let twin = Description { storage: StorageId(1), ..empty("n1") };
        let seen = answers(&[Some(empty("n1")), Some(twin), Some(empty("n3"))]);
        assert!(matches!(decide(&empty("n1"), 3, &seen), Step::Stop(_)));
    }
}
