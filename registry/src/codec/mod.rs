//! Stand-in for the conversion of commands, replaced by the real one: knows `NodeDown` alone.

use rollcall_proto::storage as proto;
use thiserror::Error;

use crate::model::{
    command::{Command, NodeDown, NodeDownReason},
    ids::{Incarnation, NodeId},
};

/// A record that this version cannot read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// The command is of no kind that this version knows.
    #[error("the log holds a command that this version does not know: it was written by a newer one")]
    UnknownCommand,
}

/// The stored form of a command.
pub fn command_to_proto(command: &Command) -> proto::Command {
    let kind = match command {
        Command::NodeDown(down) => Some(proto::command::Kind::NodeDown(proto::NodeDown {
            node_id: down.node.0,
            incarnation: down.incarnation.0,
            reason: match down.reason {
                NodeDownReason::LeaseLapsed => proto::NodeDownReason::LeaseLapsed,
                NodeDownReason::Stopped => proto::NodeDownReason::Stopped,
            }
            .into(),
        })),
        _ => None,
    };
    proto::Command { kind }
}

/// The command of a stored form.
///
/// # Errors
/// If this version does not know the command.
pub fn command_from_proto(command: proto::Command) -> Result<Command, CodecError> {
    match command.kind {
        Some(proto::command::Kind::NodeDown(down)) => Ok(Command::NodeDown(NodeDown {
            node: NodeId(down.node_id),
            incarnation: Incarnation(down.incarnation),
            reason: match down.reason() {
                proto::NodeDownReason::Stopped => NodeDownReason::Stopped,
                _ => NodeDownReason::LeaseLapsed,
            },
        })),
        _ => Err(CodecError::UnknownCommand),
    }
}
