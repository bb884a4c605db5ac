//! Before a restarted node takes part in Raft, a quorum of voters, itself included, finds its disk sound.
//!
//! Until then it neither votes nor campaigns, takes no entries and does not register. What is compared is decided in
//! `membership/standing.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use rollcall_proto::peer::{self, compare_response};
use tokio::sync::watch;

use super::{
    consensus::{Consensus, Disk},
    joining::describe,
    leader::Leader,
};
use crate::{
    fatal::{FatalReason, FatalSender},
    limits::{COMPARE_EVERY, JOIN_TIMEOUT},
    membership::{
        folder::Folder,
        standing::{Claim, Known, judge},
    },
    model::ids::{BootCounter, LogIndex, NodeId, StorageId},
    routes::Routes,
};

/// Rounds of questions between two lines in the log that say that it waits.
const ROUNDS_PER_LINE: u64 = 25;

/// Whether this node may take part in Raft: cheap, cloneable. It begins as no.
#[derive(Clone)]
pub(crate) struct Standing(watch::Sender<bool>);

impl Standing {
    pub(super) fn new() -> Self {
        Self(watch::channel(false).0)
    }

    /// Whether it may.
    pub(super) fn is_good(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it may.
    pub(super) async fn good(&self) {
        // The sender lives in `self`, so this ends only with a yes.
        let _ = self.0.subscribe().wait_for(|good| *good).await;
    }

    fn becomes_good(&self, consensus: &Consensus) {
        consensus.allow_elections();
        self.0.send_replace(true);
    }
}

/// What a peer answers.
enum Answer {
    Agreed,
    Behind(String),
    Silent,
}

/// One node's comparison with its peers.
pub(super) struct Comparison {
    pub(super) leader: Leader,
    pub(super) folder: Arc<Folder>,
    /// Peer addresses, for a log that names no members, or only ones that are gone.
    pub(super) join: Vec<String>,
    pub(super) standing: Standing,
    pub(super) fatal: FatalSender,
}

impl Comparison {
    /// Runs until this node may take part, or must not.
    pub(super) async fn run(self) {
        let mut rounds = 0_u64;
        loop {
            match self.settle().await {
                Ok(true) => return self.standing.becomes_good(&self.leader.consensus),
                Ok(false) => {}
                Err(reason) => return self.fatal.stop(FatalReason::Refused(reason)),
            }
            rounds += 1;
            if rounds.is_multiple_of(ROUNDS_PER_LINE) {
                tracing::info!("waiting for a quorum of voters to compare this node's disk with");
            }
            tokio::time::sleep(COMPARE_EVERY).await;
        }
    }

    /// One round; whether a quorum agrees.
    ///
    /// # Errors
    /// A peer knows of something that this folder lacks; for people.
    async fn settle(&self) -> Result<bool, String> {
        let Ok(disk) = self.leader.consensus.disk().await else { return Ok(false) };
        if !self.may_have_promised(&disk) {
            return Ok(true);
        }
        let me = self.leader.consensus.seat().node;
        let claim = peer::CompareRequest {
            storage_id: self.folder.storage().to_bytes().to_vec().into(),
            boot_counter: self.folder.boot().0,
            vote_term: disk.vote_term,
            last_log_index: disk.last_log.0,
        };
        let peers = self.peers(&disk).await;
        let asked = peers
            .iter()
            .filter(|(id, _)| **id != me)
            .map(|(id, address)| self.ask(*id, address, claim.clone()));
        let mut agreed = BTreeSet::from([me.0]);
        for (id, answer) in join_all(asked).await {
            match answer {
                Answer::Agreed => drop(agreed.insert(id.0)),
                Answer::Behind(reason) => return Err(reason),
                Answer::Silent => {}
            }
        }
        Ok(if disk.voters.is_empty() {
            // Its log is empty, so that it knows of no voters: any member of the cluster has to do, if one is known.
            agreed.len() > 1 || self.join.is_empty()
        } else {
            disk.voters.iter().all(|voters| is_quorum(&agreed, voters))
        })
    }

    /// Whether an earlier start of this folder may have voted or acknowledged anything.
    fn may_have_promised(&self, disk: &Disk) -> bool {
        let founding_is_pending = self.folder.founding().is_some() && disk.members.is_empty();
        self.folder.boot() > BootCounter(1) && !founding_is_pending
    }

    /// Who can be asked, and where: the members of the newest membership, and whom the join list names.
    async fn peers(&self, disk: &Disk) -> BTreeMap<NodeId, String> {
        let cluster = self.leader.consensus.seat().cluster;
        let registered =
            |id: NodeId, joined: &str| self.leader.address_of(id).unwrap_or_else(|| joined.to_owned());
        let members = disk.members.iter().map(|(id, joined)| (*id, registered(*id, joined)));
        let mut peers: BTreeMap<NodeId, String> = members.collect();
        let connector = self.leader.channels.connector();
        let asked = self.join.iter().map(|address| describe(connector, address));
        for found in join_all(asked).await.into_iter().flatten() {
            let Some((_, id)) = found.member_of.filter(|(of, _)| *of == cluster) else { continue };
            if let Some(registered) = peers.insert(id, found.addresses.peer.clone()) {
                self.leader.channels.moved(id, registered, found.addresses.peer);
            }
        }
        peers
    }

    async fn ask(&self, id: NodeId, address: &str, claim: peer::CompareRequest) -> (NodeId, Answer) {
        let asked = tokio::time::timeout(JOIN_TIMEOUT, self.leader.compare_at(id, address, claim)).await;
        let answer = match asked {
            Ok(Ok(compare_response::Result::Agreed(_))) => Answer::Agreed,
            Ok(Ok(compare_response::Result::Behind(reason))) => Answer::Behind(reason),
            Ok(Err(error)) => {
                tracing::debug!(%id, address, %error, "no comparison");
                Answer::Silent
            }
            Err(_) => Answer::Silent,
        };
        (id, answer)
    }
}

fn is_quorum(agreed: &BTreeSet<u64>, voters: &BTreeSet<u64>) -> bool {
    voters.intersection(agreed).count() > voters.len() / 2
}

/// What this node tells a restarted one.
pub(super) fn compare(
    source: NodeId,
    request: &peer::CompareRequest,
    routes: &Routes,
    consensus: &Consensus,
) -> compare_response::Result {
    let Some(node) = routes.node(source) else {
        // This replica is behind: it knows nothing that the folder could lack.
        return compare_response::Result::Agreed(true);
    };
    let claim = Claim {
        storage: StorageId::from_bytes(&request.storage_id).unwrap_or_default(),
        boot: BootCounter(request.boot_counter),
        vote_term: request.vote_term,
        last_log: LogIndex(request.last_log_index),
    };
    let known =
        Known { storage: node.storage, boot: node.boot, floor: node.floor.max(consensus.floor_of(source)) };
    match judge(&claim, &known) {
        Ok(()) => compare_response::Result::Agreed(true),
        Err(behind) => {
            tracing::warn!(node = %source, name = %node.name, %behind, "a restarted node's disk was set back");
            let name = &node.name;
            compare_response::Result::Behind(format!(
                "the disk of {name} (node {source}) was set back to an older state: {behind}. It may have forgotten votes \
                 and entries that the cluster counts on, so it is a lost disk: remove the node (rollcall nodes remove \
                 {name}), then start it again with an empty folder"
            ))
        }
    }
}
