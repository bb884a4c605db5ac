//! What a command's proposer learns from its application.

use std::fmt;

use super::{
    event::BatchOutcome,
    ids::{Incarnation, NodeId},
    rejection::CommandRejection,
};

/// What became of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Response {
    /// It took effect, or there was nothing to do.
    #[default]
    Done,
    /// The node is a member under this id.
    Admitted(NodeId),
    /// The node is up in this incarnation.
    Up(Incarnation),
    /// The batch was applied, now or before.
    Batch(BatchOutcome),
    /// It was refused.
    Rejected(CommandRejection),
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Admitted(node) => write!(f, "admitted as node {node}"),
            Self::Up(incarnation) => write!(f, "up as incarnation {incarnation}"),
            Self::Batch(outcome) => {
                write!(f, "batch {} applied, {} refused", outcome.number, outcome.refused.len())
            }
            Self::Rejected(rejection) => write!(f, "rejected: {rejection}"),
        }
    }
}
