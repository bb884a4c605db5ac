//! Whether an attach goes on with the session that its device had, or opens a new one.

use rollcall_registry::model::ids::{AttachNumber, ClusterId, Epoch, InstanceId};

/// What an attach shows of the session that it would go on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The agent process.
    pub(crate) instance: InstanceId,
    /// Its own order of its attaches.
    pub(crate) attach_number: AttachNumber,
    /// The newest session it has held. 0: none.
    pub(crate) epoch: Epoch,
    /// Of that session; `None`: what it showed is no cluster's id.
    pub(crate) cluster: Option<ClusterId>,
    /// Whether its resume token is that of the device and the epoch.
    pub(crate) token: Token,
    /// Whether older streams of the device are in use, as far as it says.
    pub(crate) streams: Streams,
}

/// A resume token, judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// It is that of the device and the epoch.
    Genuine,
    /// It is not, or there is none.
    Wrong,
}

/// Whether a device still uses older streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streams {
    /// This is its only one.
    One,
    /// It may use others: it moves, and results pass on both.
    Several,
}

/// The device's session on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// The agent process.
    pub(crate) instance: InstanceId,
    /// Of the attach that opened it, or last went on with it.
    pub(crate) attach_number: AttachNumber,
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// The epoch by the registry's row; `None`: it has no valid session.
    pub(crate) row: Option<Epoch>,
    /// Whether the device is and offers what it was and offered.
    pub(crate) profile: ProfileIs,
}

/// An attach's profile beside the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProfileIs {
    /// What the device said last.
    Same,
    /// Another one: everybody must learn it.
    Changed,
}

/// What becomes of an attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The session goes on: no new epoch, nothing to commit.
    Resume,
    /// A new session is opened.
    OpenAnew,
    /// The device itself has attached since.
    Outdated,
}

/// Decides. `cluster` is this node's; its lease holds.
pub(crate) fn decide(claim: &Claim, held: &Held, cluster: ClusterId) -> Decision {
    let same = claim.epoch == held.epoch && claim.cluster == Some(cluster) && claim.instance == held.instance;
    if !same || claim.token == Token::Wrong || held.row != Some(held.epoch) {
        return Decision::OpenAnew;
    }
    if claim.attach_number <= held.attach_number {
        return Decision::Outdated;
    }
    match (claim.streams, held.profile) {
        (Streams::One, ProfileIs::Same) => Decision::Resume,
        (Streams::Several, _) | (_, ProfileIs::Changed) => Decision::OpenAnew,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);

    fn claim() -> Claim {
        Claim {
            instance: InstanceId(5),
            attach_number: AttachNumber(3),
            epoch: Epoch(90),
            cluster: Some(CLUSTER),
            token: Token::Genuine,
            streams: Streams::One,
        }
    }

    fn held() -> Held {
        Held {
            instance: InstanceId(5),
            attach_number: AttachNumber(2),
            epoch: Epoch(90),
            row: Some(Epoch(90)),
            profile: ProfileIs::Same,
        }
    }

    #[test]
    fn the_same_agent_goes_on_with_its_newest_session() {
        assert_eq!(decide(&claim(), &held(), CLUSTER), Decision::Resume);
    }

    #[test]
    fn whatever_differs_opens_a_new_session() {
        let claims = [
            Claim { instance: InstanceId(6), ..claim() },
            Claim { epoch: Epoch(89), ..claim() },
            Claim { epoch: Epoch(91), ..claim() },
            Claim { cluster: Some(ClusterId(8)), ..claim() },
            Claim { cluster: None, ..claim() },
            Claim { token: Token::Wrong, ..claim() },
            Claim { streams: Streams::Several, ..claim() },
        ];
        for claim in claims {
            assert_eq!(decide(&claim, &held(), CLUSTER), Decision::OpenAnew, "{claim:?}");
        }
        let sessions = [
            Held { row: Some(Epoch(91)), ..held() },
            Held { row: None, ..held() },
            Held { profile: ProfileIs::Changed, ..held() },
        ];
        for held in sessions {
            assert_eq!(decide(&claim(), &held, CLUSTER), Decision::OpenAnew, "{held:?}");
        }
    }

    #[test]
    fn an_attach_that_was_overtaken_is_refused() {
        for number in [1, 2] {
            let claim = Claim { attach_number: AttachNumber(number), ..claim() };
            assert_eq!(decide(&claim, &held(), CLUSTER), Decision::Outdated);
        }
        let overtaken = Claim { attach_number: AttachNumber(1), ..claim() };
        let stolen = Claim { token: Token::Wrong, ..overtaken };
        assert_eq!(decide(&stolen, &held(), CLUSTER), Decision::OpenAnew, "the registry refuses it");
    }
}
