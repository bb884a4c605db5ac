//! What an answer that lasts rests on: a credential and whom it stands for. A device may renew it meanwhile.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use super::{
    control::AccessControl,
    credential::{Credential, Shown},
    file::AccessError,
    identity::{Identity, Verb},
};
use crate::limits::{CREDENTIAL_LOOK, REVIEW_SPREAD};

/// Shared by the answer and whoever watches over it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Standing {
    control: AccessControl,
    held: Arc<watch::Sender<Held>>,
}

#[derive(Debug, Clone)]
struct Held {
    credential: Credential,
    identity: Arc<Identity>,
}

impl Standing {
    pub(super) fn new(control: AccessControl, credential: Credential, identity: Arc<Identity>) -> Self {
        Self { control, held: Arc::new(watch::Sender::new(Held { credential, identity })) }
    }

    /// Whose it is now.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.held.borrow().identity)
    }

    /// How long a token still holds, if it ends; `None` for whoever showed none, or one without an end.
    pub fn token_left(&self) -> Option<Duration> {
        let held = self.held.borrow();
        let expires = held.identity.expires.filter(|_| matches!(held.credential, Credential::Token(_)))?;
        Some(expires.duration_since(SystemTime::now()).unwrap_or_default())
    }

    /// Whom a new token stands for, if it is the same somebody as before.
    pub fn judge(&self, token: &str) -> Option<Arc<Identity>> {
        let identity = self.control.identify(Shown::Token(token)).ok()?;
        (identity.name == self.identity().name).then_some(identity)
    }

    /// Whether whoever this is may administer the whole cluster by the rules of this text. Reads files that it names.
    ///
    /// # Errors
    /// It is not right.
    pub(crate) fn would_administer(&self, text: &str) -> Result<bool, AccessError> {
        let Some(rules) = self.control.rules() else { return Ok(false) };
        let policy = rules.check(text)?;
        let held = self.held.borrow().clone();
        let identity = policy.judge(held.credential.shown());
        Ok(identity.is_ok_and(|identity| identity.may_everywhere(Verb::Administer)))
    }

    /// From now on it rests on this token.
    pub fn renew(&self, token: &str, identity: Arc<Identity>) {
        self.held.send_replace(Held { credential: Credential::Token(token.into()), identity });
    }

    /// Resolves once the identity no longer holds.
    pub(super) async fn over(self) {
        let mut versions = self.control.versions();
        let mut held = self.held.subscribe();
        // The rules may have changed since it was let in.
        while self.is_same() {
            loop {
                // Wall clocks are set: a long sleep is cut into looks.
                let left = held.borrow_and_update().identity.left();
                if left == Some(Duration::ZERO) {
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep(left.unwrap_or(CREDENTIAL_LOOK).min(CREDENTIAL_LOOK)) => {}
                    changed = held.changed() => if changed.is_err() { return },
                    changed = versions.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        // Not all at once: each look is a signature.
                        tokio::time::sleep(REVIEW_SPREAD.mul_f64(rand::random())).await;
                        break;
                    }
                }
            }
        }
    }

    fn is_same(&self) -> bool {
        let held = self.held.borrow().clone();
        self.control.identify(held.credential.shown()).is_ok_and(|now| now == held.identity)
    }
}

impl Identity {
    /// How long the credential still holds; `None`: it has no end.
    fn left(&self) -> Option<Duration> {
        self.expires.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default())
    }
}
