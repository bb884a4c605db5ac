//! The server's side of finding each other: describe, consent, join, and what nodes ask of the leader.

use rollcall_proto::peer::{
    self, beat_response, join_response, membership_service_server::MembershipService, propose_response,
    read_index_response,
};
use tonic::{Request, Response, Status};

use super::{
    comparison, consensus::LeaderError, door::Door, leader::Leader, logged_command::LoggedCommand,
    membership_wire, operator::OperatorError, record_refusal, type_config::Member,
};
use crate::{
    codec,
    leases::table::Beat,
    membership::{change::MembershipChange, folder::founding_from_proto},
    model::{
        command::{AdmitNode, Command},
        feature_level::FeatureLevel,
        ids::{Incarnation, NodeId, StorageId},
        rejection::CommandRejection,
        response::Response as Applied,
    },
};

/// Serves `rollcall.peer.v1.MembershipService`.
pub(super) struct MembershipServer {
    pub(super) door: Door,
}

impl MembershipServer {
    /// The way to the leader, for a request that is meant for this node.
    #[allow(clippy::result_large_err)]
    fn admit<T>(&self, request: &Request<T>) -> Result<(Leader, NodeId), Status> {
        let leader = self.door.leader()?;
        let source = leader.consensus.seat().verify(request.metadata())?;
        self.door.refuse_removed(source)?;
        Ok((leader, source))
    }
}

#[tonic::async_trait]
impl MembershipService for MembershipServer {
    async fn describe(
        &self,
        _request: Request<peer::DescribeRequest>,
    ) -> Result<Response<peer::DescribeResponse>, Status> {
        let me = self.door.describe();
        let (cluster_id, node_id) = match me.member_of {
            Some((cluster, node)) => (cluster.to_bytes().to_vec(), node.0),
            None => (Vec::new(), 0),
        };
        Ok(Response::new(peer::DescribeResponse {
            name: me.name,
            storage_id: me.storage.to_bytes().to_vec().into(),
            founded: node_id != 0,
            cluster_id: cluster_id.into(),
            node_id,
            consented_to: me.consented_to.unwrap_or_default(),
            addresses: Some(codec::addresses_to_proto(&me.addresses)),
        }))
    }

    async fn consent(
        &self,
        request: Request<peer::ConsentRequest>,
    ) -> Result<Response<peer::ConsentResponse>, Status> {
        let founding = request.into_inner().founding.and_then(founding_from_proto);
        let founding = founding.ok_or_else(|| Status::invalid_argument("the founding is malformed"))?;
        let reason = self.door.consent(&founding).await.err();
        Ok(Response::new(peer::ConsentResponse {
            consented: reason.is_none(),
            reason: reason.unwrap_or_default(),
        }))
    }

    async fn join(
        &self,
        request: Request<peer::JoinRequest>,
    ) -> Result<Response<peer::JoinResponse>, Status> {
        let request = request.into_inner();
        let storage = StorageId::from_bytes(&request.storage_id);
        let admit = AdmitNode {
            name: request.name.as_str().into(),
            storage: storage.ok_or_else(|| Status::invalid_argument("the storage id is malformed"))?,
            addresses: codec::addresses_from_proto(request.addresses),
            feature_level: FeatureLevel(request.feature_level),
        };
        let leader = self.door.leader()?;
        let result = match admit_newcomer(&leader, admit).await {
            Ok(result) => result,
            Err(OperatorError::Leader(LeaderError::NotLeader(leader))) => {
                let view = leader.and_then(|leader| self.door.inner.routes.node(leader));
                join_response::Result::LeaderAddr(
                    view.map_or_else(String::new, |it| it.addresses.peer.clone()),
                )
            }
            Err(error) => return Err(Status::unavailable(error.to_string())),
        };
        Ok(Response::new(peer::JoinResponse { result: Some(result) }))
    }

    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeResponse>, Status> {
        let (leader, _) = self.admit(&request)?;
        let request = request.into_inner();
        let command = match request.command {
            Some(command) => codec::command_from_proto(command).map(LoggedCommand::from).map_err(Into::into),
            None => LoggedCommand::read(request.encoded),
        };
        let command = command.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let result = match leader.consensus.write(command).await {
            Ok((_, Applied::Rejected(CommandRejection::Record(rejection)))) => {
                propose_response::Result::RecordRefused(record_refusal::to_proto(rejection))
            }
            Ok((_, Applied::Rejected(rejection))) => {
                propose_response::Result::Rejected(rejection.to_string())
            }
            Ok((index, _)) => propose_response::Result::Index(index.0),
            Err(LeaderError::TooLarge(large)) => propose_response::Result::TooLarge(peer::EntryTooLarge {
                bytes: large.bytes as u64,
                limit: large.limit as u64,
            }),
            Err(error) => propose_response::Result::LeaderId(leader_elsewhere(error)?),
        };
        Ok(Response::new(peer::ProposeResponse { result: Some(result) }))
    }

    async fn beat(
        &self,
        request: Request<peer::BeatRequest>,
    ) -> Result<Response<peer::BeatResponse>, Status> {
        let (leader, _) = self.admit(&request)?;
        let beat = request.into_inner();
        let beat = leader.keeper.beat(NodeId(beat.node_id), Incarnation(beat.incarnation)).await;
        let result = match beat {
            Some(Beat::Granted(ttl)) => {
                let ttl = ttl.try_into().map_err(|_| Status::internal("the lease is too long to say"))?;
                beat_response::Result::Granted(ttl)
            }
            Some(Beat::Lapsed) => beat_response::Result::Lapsed(true),
            None => beat_response::Result::LeaderId(leader.consensus.leader().map_or(0, |leader| leader.0)),
        };
        Ok(Response::new(peer::BeatResponse { result: Some(result) }))
    }

    async fn read_index(
        &self,
        request: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        let (leader, _) = self.admit(&request)?;
        let result = match leader.consensus.read_index().await {
            Ok(index) => read_index_response::Result::Index(index.0),
            Err(error) => read_index_response::Result::LeaderId(leader_elsewhere(error)?),
        };
        Ok(Response::new(peer::ReadIndexResponse { result: Some(result) }))
    }

    async fn change_membership(
        &self,
        request: Request<peer::ChangeMembershipRequest>,
    ) -> Result<Response<peer::ChangeMembershipResponse>, Status> {
        let (leader, _) = self.admit(&request)?;
        let change = membership_wire::change_from_proto(request.into_inner());
        let change =
            change.ok_or_else(|| Status::unimplemented("this leader does not know such a change"))?;
        let outcome = leader.operator.change(change).await;
        membership_wire::changed_to_proto(outcome).map(Response::new).map_err(Status::unavailable)
    }

    async fn compare(
        &self,
        request: Request<peer::CompareRequest>,
    ) -> Result<Response<peer::CompareResponse>, Status> {
        let (leader, source) = self.admit(&request)?;
        let result = comparison::compare(source, request.get_ref(), &leader.routes, &leader.consensus);
        Ok(Response::new(peer::CompareResponse { result: Some(result) }))
    }
}

/// Gives a newcomer its id, then adds it as a learner. Repeating it does no harm.
async fn admit_newcomer(leader: &Leader, admit: AdmitNode) -> Result<join_response::Result, OperatorError> {
    if let Some(wait) = make_room(leader, &admit).await? {
        return Ok(join_response::Result::Wait(wait));
    }
    let consensus = &leader.consensus;
    let member = Member { name: admit.name.to_string(), peer_addr: admit.addresses.peer.clone() };
    // Before it gets an id that it could not use.
    if let Err(large) = consensus.judge_newcomer(&member) {
        return Ok(join_response::Result::Refused(large.to_string()));
    }
    let response = match consensus.write(Command::AdmitNode(admit)).await {
        Err(LeaderError::TooLarge(large)) => return Ok(join_response::Result::Refused(large.to_string())),
        written => written?.1,
    };
    Ok(match response {
        Applied::Admitted(node) => {
            consensus.add_learner(node, member).await?;
            let cluster_id = consensus.seat().cluster.to_bytes().to_vec().into();
            join_response::Result::Admitted(peer::Admitted { cluster_id, node_id: node.0 })
        }
        Applied::Rejected(rejection) => join_response::Result::Refused(rejection.to_string()),
        other => join_response::Result::Refused(format!("unexpected: {other}")),
    })
}

/// A learner that comes with another folder replaces itself, once it is down; says what to wait for.
///
/// Others count on the disk of a voter: only an operator may say that it is lost.
async fn make_room(leader: &Leader, admit: &AdmitNode) -> Result<Option<String>, OperatorError> {
    let holder = leader.routes.node_by_name(&admit.name).filter(|node| node.storage != admit.storage);
    let Some(holder) = holder.filter(|node| leader.consensus.is_learner(node.id)) else {
        return Ok(None);
    };
    if holder.up {
        let name = &holder.name;
        return Ok(Some(format!(
            "{name} is up with another data folder; it can be replaced once it is down"
        )));
    }
    tracing::info!(node = %holder.id, name = %holder.name, "a learner comes back with another data folder");
    leader.operator.change(MembershipChange::Remove(holder.name.to_string())).await?;
    Ok(None)
}

/// The leader's id for the answer to a request that only it can serve; 0: unknown.
#[allow(clippy::result_large_err)]
fn leader_elsewhere(error: LeaderError) -> Result<u64, Status> {
    match error {
        LeaderError::NotLeader(leader) => Ok(leader.map_or(0, |leader| leader.0)),
        LeaderError::TooLarge(_) => Err(Status::invalid_argument(error.to_string())),
        LeaderError::AboveLevel { .. } => Err(Status::failed_precondition(error.to_string())),
        LeaderError::Unknown(_) | LeaderError::Stopped(_) => Err(Status::unavailable(error.to_string())),
    }
}
