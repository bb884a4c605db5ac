//! Whether a voter may leave now: only while the others are a quorum without it, and have what it has. Pure.

use crate::limits::TURN_LAG_MOST;

/// Another voter, as the registry has it and as it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherVoter {
    /// Its name.
    pub name: String,
    /// Whether its lease holds, as the registry has it.
    pub up: bool,
    /// Whether it is about to stop itself.
    pub draining: bool,
    /// What it says; `None`: it does not answer.
    pub answer: Option<Answer>,
}

/// What a voter says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether it should be sent calls.
    pub ready: bool,
    /// Whether it knows a leader with a quorum.
    pub has_quorum: bool,
    /// The last index that it applied.
    pub applied: u64,
}

/// What a voter that applied `applied` waits for before it leaves, one reason for each of the others that is not well. Empty:
/// nothing.
pub fn waits_for(applied: u64, others: &[OtherVoter]) -> Vec<String> {
    others.iter().filter_map(|other| Some(format!("{} {}", other.name, ailment(applied, other)?))).collect()
}

fn ailment(applied: u64, other: &OtherVoter) -> Option<String> {
    if !other.up {
        return Some("is down".to_owned());
    }
    if other.draining {
        return Some("is about to stop".to_owned());
    }
    let Some(answer) = other.answer else { return Some("does not answer".to_owned()) };
    if !answer.ready {
        return Some("is not ready".to_owned());
    }
    if !answer.has_quorum {
        return Some("has no leader with a quorum".to_owned());
    }
    let behind = applied.saturating_sub(answer.applied);
    (behind > TURN_LAG_MOST).then(|| format!("is {behind} log entries behind"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well(name: &str) -> OtherVoter {
        let answer = Some(Answer { ready: true, has_quorum: true, applied: 1_000 });
        OtherVoter { name: name.to_owned(), up: true, draining: false, answer }
    }

    fn answers(ready: bool, has_quorum: bool, applied: u64) -> OtherVoter {
        OtherVoter { answer: Some(Answer { ready, has_quorum, applied }), ..well("n2") }
    }

    #[test]
    fn a_voter_leaves_while_all_others_are_well() {
        assert_eq!(waits_for(1_000, &[well("n2"), well("n3")]), Vec::<String>::new());
        assert_eq!(waits_for(1_000, &[]), Vec::<String>::new(), "alone");
        assert_eq!(waits_for(1_000 + TURN_LAG_MOST, &[well("n2")]), Vec::<String>::new());
    }

    #[test]
    fn a_voter_waits_for_each_that_is_not() {
        let ill = [
            (OtherVoter { up: false, ..well("n2") }, "n2 is down"),
            (OtherVoter { draining: true, ..well("n2") }, "n2 is about to stop"),
            (OtherVoter { answer: None, ..well("n2") }, "n2 does not answer"),
            (answers(false, true, 1_000), "n2 is not ready"),
            (answers(true, false, 1_000), "n2 has no leader with a quorum"),
            (answers(true, true, 1_000 - TURN_LAG_MOST - 1), "n2 is 101 log entries behind"),
        ];
        for (other, reason) in ill {
            assert_eq!(waits_for(1_000, &[other, well("n3")]), [reason]);
        }
    }
}
