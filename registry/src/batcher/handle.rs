//! The way into the batcher: cheap, cloneable.

use tokio::sync::{mpsc, oneshot};

use super::{
    core::Completion,
    message::{LogNews, Submission},
};
use crate::{
    clock::Moment,
    handle::{ChangeError, Opened},
    limits::{BATCH_RETRY_AFTER, CHANGE_PATIENCE},
    model::command::SessionChange,
};

/// Submits changes of sessions to this node's batcher.
#[derive(Clone)]
pub struct BatcherHandle {
    pub(super) submissions: mpsc::Sender<Submission>,
    pub(super) closes: mpsc::Sender<SessionChange>,
    pub(super) news: mpsc::UnboundedSender<LogNews>,
}

impl BatcherHandle {
    /// Submits a change and waits until this node has applied it.
    ///
    /// # Errors
    /// [`ChangeError::QueueFull`] at once when too many wait; the others as they say.
    ///
    /// # Cancel safety
    /// The change is not undone.
    pub async fn submit(&self, change: SessionChange) -> Result<Opened, ChangeError> {
        let (answer, answered) = oneshot::channel();
        let deadline = Moment::now() + CHANGE_PATIENCE;
        self.submissions.try_send(Submission { change, deadline, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => ChangeError::QueueFull { retry_after: BATCH_RETRY_AFTER },
            mpsc::error::TrySendError::Closed(_) => ChangeError::Stopping,
        })?;
        // The worker answers at the deadline. If it ends, so does everything that it has yet to answer.
        match answered.await {
            Ok(Completion::Done(opened)) => Ok(opened),
            Ok(Completion::Failed(error)) => Err(error),
            Err(_) => Err(ChangeError::Stopping),
        }
    }

    /// Submits a close that nobody waits for; returns whether there was room.
    pub fn close(&self, change: SessionChange) -> bool {
        self.closes.try_send(change).is_ok()
    }

    /// Tells the worker what this node has applied. Never blocks apply; bounded by the one batch in flight.
    pub(crate) fn news(&self, news: LogNews) {
        // A worker that is gone needs no news.
        let _ = self.news.send(news);
    }
}
