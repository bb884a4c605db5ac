//! What a caller holds of an accepted call: the means to give it up.

use std::sync::Arc;

use super::{connection::Connection, ending::GiveUp, shared_runs::Share};
use crate::core::in_flight::Tag;

/// An accepted call.
pub(crate) enum Ticket {
    /// It is the only one of its execution.
    Own(Place),
    /// Others may wait for the same execution.
    Shared(Share),
    /// It was answered at once.
    Answered,
}

impl Ticket {
    /// The caller gave up. Whoever waits is answered at once, and the device is told if it has the call and nobody else
    /// waits for it.
    pub(crate) fn cancel(&self, why: GiveUp) {
        match self {
            Self::Own(place) => place.cancel(why),
            Self::Shared(share) => share.cancel(why),
            Self::Answered => {}
        }
    }
}

/// Where a connection keeps a call.
#[derive(Clone)]
pub(crate) struct Place {
    pub(super) connection: Arc<Connection>,
    pub(super) slot: u32,
    pub(super) tag: Tag,
}

impl Place {
    /// Gives the call up.
    pub(crate) fn cancel(&self, why: GiveUp) {
        self.connection.cancel(self.slot, self.tag, why);
    }
}
