//! How a node without a cluster gets one: asks its join list, founds with the others, or is let in.

use std::{collections::BTreeMap, future::Future};

use futures::future::join_all;
use rollcall_proto::peer::{self, join_response, membership_service_client::MembershipServiceClient};
use rollcall_transport::Connector;

use super::{consensus::Consensus, door::Door, identity::Seat, line, line::Line, type_config::Member};
use crate::{
    chance,
    clock::Moment,
    codec,
    limits::{JOIN_EVERY, JOIN_TIMEOUT},
    membership::{
        folder::{Founding, founding_to_proto},
        founding::{Description, Step, decide},
    },
    model::{
        command::{FoundCluster, FoundingMember},
        ids::{ClusterId, NodeId, StorageId},
    },
    start_error::StartError,
};

/// One attempt after the other to get a place in a cluster.
pub(super) struct Joining {
    pub(super) door: Door,
    /// The last thing said, so that a wait is logged when its reason changes and not at each round.
    pub(super) said: String,
}

impl Joining {
    /// Runs until this node has a place, durably; the caller then takes it.
    ///
    /// # Errors
    /// What no waiting would mend.
    pub(super) async fn find_seat(&mut self) -> Result<(), StartError> {
        loop {
            if self.door.inner.folder.seat().is_some() {
                return Ok(());
            }
            let answers = self.ask_all().await;
            match decide(&self.door.describe(), self.door.inner.config.bootstrap_expect, &answers) {
                Step::Join { addresses } => self.ask_members(addresses).await?,
                Step::Propose(members) => self.propose(&members)?,
                Step::Wait(reason) => self.say(reason),
                Step::Stop(reason) => return Err(StartError::Refused(reason)),
            }
            tokio::time::sleep(JOIN_EVERY).await;
        }
    }

    /// Checks that no address of the join list belongs to another cluster than this node.
    ///
    /// # Errors
    /// One does: this folder, or the list, is the wrong one.
    pub(super) async fn check_cluster(&self, seat: Seat) -> Result<(), StartError> {
        for (address, answer) in self.ask_all().await {
            let other = answer.and_then(|it| it.member_of).map(|(cluster, _)| cluster);
            if let Some(other) = other.filter(|other| *other != seat.cluster) {
                return Err(StartError::Refused(format!(
                    "{address} belongs to cluster {other}, this node's data folder to cluster {}: \
                     mend the join list, or start with an empty folder to join that cluster",
                    seat.cluster
                )));
            }
        }
        Ok(())
    }

    /// The candidate's part: asks every founding member for its consent, then initialises all of them as voters at once.
    pub(super) async fn found(&mut self, founding: &Founding, consensus: &Consensus) {
        while !consensus.is_initialized().await {
            let members =
                founding.cluster.members.iter().filter(|it| it.name != self.door.inner.folder.name());
            let asked = members.map(|member| {
                ask_consent(&self.door.inner.config.connector, &member.addresses.peer, founding)
            });
            let refused: Vec<String> = join_all(asked).await.into_iter().filter_map(Result::err).collect();
            if refused.is_empty() {
                let voters = founding.cluster.members.iter().map(|member| {
                    let peer_addr = member.addresses.peer.clone();
                    (member.node.0, Member { name: member.name.to_string(), peer_addr })
                });
                if let Err(error) = consensus.initialize(voters.collect::<BTreeMap<_, _>>()).await {
                    tracing::error!(%error, "the cluster could not be initialised");
                }
                return;
            }
            self.say(format!("waiting for consent to found the cluster: {}", refused.join("; ")));
            tokio::time::sleep(JOIN_EVERY).await;
        }
    }

    /// Waits until this node is registered in its cluster: the log has its start, and the leader renews its lease.
    ///
    /// # Errors
    /// The cluster refuses the node.
    pub(super) async fn wait_registered(&mut self, seat: Seat) -> Result<(), StartError> {
        let inner = std::sync::Arc::clone(&self.door.inner);
        let registered = async {
            while inner.routes.cluster_id() != Some(seat.cluster) || !inner.lease.held(Moment::now()) {
                self.say("waiting for the cluster to take this node's registration".to_owned());
                tokio::time::sleep(JOIN_EVERY / 10).await;
            }
        };
        tokio::select! {
            biased;
            () = registered => Ok(()),
            reason = inner.fatal.stopped() => Err(StartError::Refused(reason.to_string())),
        }
    }

    fn say(&mut self, reason: String) {
        if self.said != reason {
            tracing::info!(reason, "not in a cluster yet");
            self.said = reason;
        }
    }

    async fn ask_all(&self) -> Vec<(String, Option<Description>)> {
        let config = &self.door.inner.config;
        // Who founds a cluster alone need not name itself.
        let itself =
            (config.join.is_empty() && config.bootstrap_expect == 1).then_some(&config.advertise.peer);
        let asked = config
            .join
            .iter()
            .chain(itself)
            .map(|address| async move { (address.clone(), describe(&config.connector, address).await) });
        join_all(asked).await
    }

    /// Consents to this node's own proposal; [`Self::found`] asks the others.
    fn propose(&mut self, members: &[Description]) -> Result<(), StartError> {
        let members = (1..).zip(members).map(|(id, member)| FoundingMember {
            node: NodeId(id),
            name: member.name.as_str().into(),
            storage: member.storage,
            addresses: member.addresses.clone(),
        });
        let founding = Founding {
            candidate: self.door.inner.folder.name().to_owned(),
            cluster: FoundCluster {
                cluster_id: ClusterId(chance::random()),
                members: members.collect(),
                token_key: chance::random(),
                epoch_base: 0,
                registration: self.door.inner.config.registration,
            },
        };
        tracing::info!(cluster = %founding.cluster.cluster_id, "proposing to found a cluster");
        self.door.inner.folder.consent(&founding)?;
        Ok(())
    }

    /// Asks one after the other, as the first may be cut off from the leader.
    async fn ask_members(&mut self, members: Vec<String>) -> Result<(), StartError> {
        for member in members {
            self.ask_to_join(member).await?;
            if self.door.inner.folder.seat().is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn ask_to_join(&mut self, member: String) -> Result<(), StartError> {
        let mut address = member.clone();
        // The member names the leader; a leader that changes meanwhile ends the round, and the next one asks again.
        for _ in 0..3 {
            match self.join_at(&address).await {
                Ok(Some(join_response::Result::Admitted(admitted))) => return self.admitted(&admitted),
                Ok(Some(join_response::Result::Refused(reason))) => return Err(StartError::Refused(reason)),
                Ok(Some(join_response::Result::LeaderAddr(leader))) if !leader.is_empty() => address = leader,
                Ok(Some(join_response::Result::Wait(reason))) => {
                    self.say(reason);
                    return Ok(());
                }
                Ok(_) => {
                    self.say(format!("{member} knows no leader yet"));
                    return Ok(());
                }
                Err(error) => {
                    self.say(format!("asked {address} to join: {error}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn join_at(&self, address: &str) -> Result<Option<join_response::Result>, String> {
        let request = peer::JoinRequest {
            name: self.door.inner.folder.name().to_owned(),
            storage_id: self.door.inner.folder.storage().to_bytes().to_vec().into(),
            addresses: Some(codec::addresses_to_proto(&self.door.inner.config.advertise)),
            feature_level: self.door.inner.config.max_feature_level.0,
        };
        let connector = &self.door.inner.config.connector;
        let response =
            ask(connector, address, |mut client| async move { client.join(request).await }).await?;
        Ok(response.result)
    }

    fn admitted(&self, admitted: &peer::Admitted) -> Result<(), StartError> {
        let cluster = ClusterId::from_bytes(&admitted.cluster_id)
            .ok_or_else(|| StartError::Refused("the cluster's answer is malformed".to_owned()))?;
        let seat = Seat { cluster, node: NodeId(admitted.node_id) };
        tracing::info!(cluster = %seat.cluster, node = %seat.node, "admitted to the cluster");
        Ok(self.door.inner.folder.joined(seat)?)
    }
}

async fn ask_consent(connector: &Connector, address: &str, founding: &Founding) -> Result<(), String> {
    let request = peer::ConsentRequest { founding: Some(founding_to_proto(founding)) };
    let asked = ask(connector, address, |mut client| async move { client.consent(request).await });
    let response = asked.await?;
    if response.consented { Ok(()) } else { Err(response.reason) }
}

/// What the node at an address says of itself, if it answers.
pub(super) async fn describe(connector: &Connector, address: &str) -> Option<Description> {
    let asked =
        ask(connector, address, |mut client| async move { client.describe(peer::DescribeRequest {}).await });
    let response = asked.await.inspect_err(|error| tracing::debug!(address, error, "no answer")).ok()?;
    Some(Description {
        name: response.name,
        storage: StorageId::from_bytes(&response.storage_id)?,
        addresses: codec::addresses_from_proto(response.addresses),
        member_of: ClusterId::from_bytes(&response.cluster_id).map(|id| (id, NodeId(response.node_id))),
        consented_to: (!response.consented_to.is_empty()).then_some(response.consented_to),
    })
}

/// One question to an address, over a connection of its own: these are rare, and the peer may be anybody.
async fn ask<T, F>(
    connector: &Connector,
    address: &str,
    question: impl FnOnce(MembershipServiceClient<Line>) -> F,
) -> Result<T, String>
where
    F: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
{
    let asking = async {
        let line = line::dial(connector, address).await.map_err(|error| format!("{address}: {error}"))?;
        let answer = question(MembershipServiceClient::new(line)).await;
        answer.map(tonic::Response::into_inner).map_err(|status| format!("{address}: {}", status.message()))
    };
    let answered = tokio::time::timeout(JOIN_TIMEOUT, asking).await;
    answered.unwrap_or_else(|_| Err(format!("{address}: no answer in time")))
}
