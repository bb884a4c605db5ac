//! Replicas at the same index are equal.

use std::collections::HashMap;

use super::Violation;

const NAME: &str = "replicas_equal";

/// A node's replica at an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The node.
    pub node: String,
    /// The last index in it.
    pub index: u64,
    /// A hash of all it holds.
    pub hash: String,
}

/// No two replicas of the same index have another hash.
pub fn replicas_equal(replicas: &[Replica]) -> Vec<Violation> {
    let mut first: HashMap<u64, &Replica> = HashMap::new();
    let mut found = Vec::new();
    for replica in replicas {
        let before = *first.entry(replica.index).or_insert(replica);
        if before.hash != replica.hash {
            found.push(Violation::of(NAME, format!("{before:?} and {replica:?}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(node: &str, index: u64, hash: &str) -> Replica {
        Replica { node: node.into(), index, hash: hash.into() }
    }

    #[test]
    fn replicas_of_different_indexes_may_differ() {
        assert_eq!(
            replicas_equal(&[replica("n1", 5, "a"), replica("n2", 6, "b"), replica("n3", 5, "a")]),
            []
        );
    }

    #[test]
    fn replicas_of_one_index_that_differ_are_found() {
        let found = replicas_equal(&[replica("n1", 5, "a"), replica("n2", 5, "b"), replica("n3", 5, "a")]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
