//! The sessions that ended with a node's life, as changes of devices: gathered beside apply, in the order of their names.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    blocking,
    model::event::Event,
    routes::held::{EndedSession, HeldRows},
};

type Gathered = Option<Arc<[EndedSession]>>;

/// The sessions that ended with a node's life.
pub(super) struct Lost {
    sessions: u64,
    gathered: watch::Receiver<Gathered>,
}

impl Lost {
    /// Gathers them from the rows as they are now, in a thread of its own: a million take about a second to put in order.
    /// Must be called within a Tokio runtime.
    pub(super) fn gather(held: HeldRows, sessions: u64) -> Self {
        let (done, gathered) = watch::channel(None);
        blocking::spawn(move || done.send_replace(Some(held.in_order().into())));
        Self { sessions, gathered }
    }

    /// How many there are.
    pub(super) fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The ends of at most `most` of them, from this position on; empty behind the last. Waits until they are gathered;
    /// `None`: they never will be.
    pub(super) async fn page(&self, from: u32, most: usize) -> Option<Vec<Event>> {
        let mut gathered = self.gathered.clone();
        let sessions = gathered.wait_for(Option::is_some).await.ok()?.clone()?;
        let rest = sessions.get(from as usize..).unwrap_or_default();
        Some(rest.iter().take(most).map(EndedSession::closed).collect())
    }
}
