//! What the batcher's worker is told.

use tokio::sync::oneshot;

use super::core::Completion;
use crate::{
    clock::Moment,
    model::{command::SessionChange, event::BatchOutcome, ids::Incarnation},
};

/// A change that somebody waits for.
pub(super) struct Submission {
    pub(super) change: SessionChange,
    pub(super) deadline: Moment,
    pub(super) answer: oneshot::Sender<Completion>,
}

/// What this node's own log says, in its order.
#[derive(Debug)]
pub(crate) enum LogNews {
    /// This node is registered as this incarnation.
    Registered(Incarnation),
    /// This node's incarnation is over.
    Lapsed,
    /// A batch of this node was applied.
    Applied(BatchOutcome),
}
