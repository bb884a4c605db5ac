//! What a caller holds of an accepted call: the means to give it up.

use std::sync::Arc;

use super::{ending::GiveUp, live::LiveDevice, shared_runs::Share};
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

/// Which session has a call.
#[derive(Clone)]
pub(crate) struct Place {
    /// The session, as it was when it took the call.
    pub(crate) live: Arc<LiveDevice>,
    pub(super) tag: Tag,
}

impl Place {
    /// Gives the call up.
    pub(crate) fn cancel(&self, why: GiveUp) {
        self.live.connection.cancel(&self.live, self.tag, why);
    }
}
