//! Whether a restarted node still has what it promised. Pure; its peers judge before it takes part in Raft again.
//!
//! A node whose disk was set back to an older copy has forgotten votes it gave and entries it acknowledged. Peers know
//! its boot counter by its last registration, and the least its log must hold by what leaders counted on.

use std::fmt;

use crate::model::{
    command::LogFloor,
    ids::{BootCounter, LogIndex, StorageId},
};

/// What a restarted node finds in its data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The folder's id.
    pub storage: StorageId,
    /// Of this start, counted already.
    pub boot: BootCounter,
    /// The term of its vote.
    pub vote_term: u64,
    /// The last index of its log.
    pub last_log: LogIndex,
}

/// What a peer knows of that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// The folder that it was admitted with.
    pub storage: StorageId,
    /// Of its last registration; 0: none.
    pub boot: BootCounter,
    /// What leaders noted, or what this leader counts on.
    pub floor: Option<LogFloor>,
}

/// How a folder lags behind what its node had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// It is another folder.
    OtherFolder,
    /// The cluster has seen this start, or a later one, of the folder.
    Boot {
        /// The start it has seen.
        seen: BootCounter,
        /// What the folder counts.
        counted: BootCounter,
    },
    /// It lacks entries that it acknowledged.
    Log {
        /// The index it acknowledged.
        acknowledged: LogIndex,
        /// What it has.
        last: LogIndex,
    },
    /// It lacks a vote that it gave.
    Vote {
        /// The term it followed.
        followed: u64,
        /// What it has.
        term: u64,
    },
}

/// Compares a node's folder with what a peer knows of it.
///
/// # Errors
/// The folder lacks something that the node had.
pub fn judge(claim: &Claim, known: &Known) -> Result<(), Behind> {
    if claim.storage != known.storage {
        return Err(Behind::OtherFolder);
    }
    if claim.boot <= known.boot {
        return Err(Behind::Boot { seen: known.boot, counted: claim.boot });
    }
    let Some(floor) = known.floor else { return Ok(()) };
    if claim.last_log < floor.index {
        return Err(Behind::Log { acknowledged: floor.index, last: claim.last_log });
    }
    if claim.vote_term < floor.term {
        return Err(Behind::Vote { followed: floor.term, term: claim.vote_term });
    }
    Ok(())
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherFolder => f.write_str("it is not the folder that the node was admitted with"),
            Self::Boot { seen, counted } => {
                write!(f, "the cluster has seen its start {seen}, and it counts this one as {counted}")
            }
            Self::Log { acknowledged, last } => {
                write!(f, "it acknowledged log entry {acknowledged}, and its log ends at {last}")
            }
            Self::Vote { followed, term } => {
                write!(f, "it followed the leader of term {followed}, and its vote is of term {term}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known = Known {
        storage: StorageId(7),
        boot: BootCounter(3),
        floor: Some(LogFloor { term: 2, index: LogIndex(100) }),
    };
    const SOUND: Claim =
        Claim { storage: StorageId(7), boot: BootCounter(4), vote_term: 2, last_log: LogIndex(100) };

    #[test]
    fn a_folder_that_has_everything_is_sound() {
        assert_eq!(judge(&SOUND, &KNOWN), Ok(()));
        let ahead = Claim { vote_term: 9, last_log: LogIndex(900), boot: BootCounter(9), ..SOUND };
        assert_eq!(judge(&ahead, &KNOWN), Ok(()));
    }

    #[test]
    fn a_copy_from_before_an_earlier_start_counts_too_few_starts() {
        let claim = Claim { boot: BootCounter(3), ..SOUND };
        assert_eq!(
            judge(&claim, &KNOWN),
            Err(Behind::Boot { seen: BootCounter(3), counted: BootCounter(3) })
        );
    }

    #[test]
    fn a_copy_from_within_the_last_start_lacks_acknowledged_entries() {
        let claim = Claim { last_log: LogIndex(99), ..SOUND };
        let behind = Behind::Log { acknowledged: LogIndex(100), last: LogIndex(99) };
        assert_eq!(judge(&claim, &KNOWN), Err(behind));
    }

    #[test]
    fn a_copy_from_before_a_vote_lacks_it() {
        let claim = Claim { vote_term: 1, ..SOUND };
        assert_eq!(judge(&claim, &KNOWN), Err(Behind::Vote { followed: 2, term: 1 }));
    }

    #[test]
    fn another_folder_is_none_of_it() {
        let claim = Claim { storage: StorageId(8), ..SOUND };
        assert_eq!(judge(&claim, &KNOWN), Err(Behind::OtherFolder));
    }
}
