//! What a returning device says of the calls that it was given before, and what follows for each of them.

use hashbrown::HashMap;

use super::token::CallToken;
use crate::limits;

/// What a device says of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// Its handler runs.
    Running,
    /// Its handler has ended; the result will come.
    Finished,
    /// Its handler has ended; the result was given up.
    Gone,
}

/// What follows for a call that waits for its device's return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its result may come, or nobody can say.
    Wait,
    /// The handler never started.
    NeverBegan,
    /// It ran, and its result is lost.
    ReplyLost,
}

/// Everything that a device said of earlier calls when it attached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Returned {
    told: HashMap<CallToken, Told>,
    lists_all: bool,
}

impl Returned {
    /// From the lists of an attach. Beyond [`limits::RETURNED_CALLS`] they count as incomplete.
    pub(crate) fn new(told: impl Iterator<Item = (CallToken, Told)>, lists_all: bool) -> Self {
        let mut returned = Self { told: HashMap::new(), lists_all };
        for (token, what) in told {
            if returned.told.len() >= limits::RETURNED_CALLS {
                returned.lists_all = false;
                break;
            }
            returned.told.insert(token, what);
        }
        returned
    }

    /// Whether what it does not name never began.
    pub(crate) fn lists_all(&self) -> bool {
        self.lists_all
    }

    /// The calls whose handlers run.
    pub(crate) fn running(&self) -> impl Iterator<Item = CallToken> + '_ {
        self.told.iter().filter(|(_, told)| **told == Told::Running).map(|(token, _)| *token)
    }

    /// What follows for a call that the device was given, or was about to be given, before this attach.
    pub(crate) fn fate(&self, token: CallToken) -> Fate {
        match self.told.get(&token) {
            Some(Told::Running | Told::Finished) => Fate::Wait,
            Some(Told::Gone) => Fate::ReplyLost,
            None if self.lists_all => Fate::NeverBegan,
            None => Fate::Wait,
        }
    }
}
