//! From a credential to an identity: judged once, then found again for each request.

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc, time::SystemTime};

use parking_lot::RwLock;
use rollcall_transport::Made;
use tokio::sync::{Notify, watch};

use super::{
    credential::Shown,
    file::AccessError,
    identity::Identity,
    policy::{Policy, Unknown},
    rules::Rules,
};
use crate::limits::IDENTITIES_KEPT;

/// Knows who may come in. Cheap to clone.
#[derive(Clone)]
pub struct AccessControl {
    inner: Arc<Inner>,
}

struct Inner {
    /// `None`: anybody may do anything.
    rules: Option<Rules>,
    everybody: Arc<Identity>,
    known: RwLock<Known>,
    /// Rises when the rules change.
    version: watch::Sender<u64>,
    /// A token names a key that its issuer has not shown yet.
    key_missed: Notify,
    /// A key set was fetched that is another than before.
    fetched: Notify,
}

/// Identities that were judged, by what was shown for them.
#[derive(Default)]
struct Known {
    tokens: HashMap<Arc<str>, Arc<Identity>>,
    certificates: HashMap<[u8; 32], Arc<Identity>>,
    nobody: Option<Arc<Identity>>,
}

/// Says nothing of what it knows: tokens are secrets.
impl fmt::Debug for AccessControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessControl").field("rules", &self.inner.rules).finish_non_exhaustive()
    }
}

impl AccessControl {
    /// Anybody may do anything.
    pub fn open() -> Self {
        Self::new(None)
    }

    /// By the rules of a file. Reads from the disk; key sets that are behind a URL are fetched later, in the background.
    ///
    /// # Errors
    /// The file, or one that it names, is not right.
    pub fn load(path: PathBuf) -> Result<Self, AccessError> {
        Rules::load(path).map(|rules| Self::new(Some(rules)))
    }

    fn new(rules: Option<Rules>) -> Self {
        let inner = Inner {
            rules,
            everybody: Arc::new(Identity::everybody()),
            known: RwLock::default(),
            version: watch::channel(0).0,
            key_missed: Notify::new(),
            fetched: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether anybody may do anything.
    pub fn is_open(&self) -> bool {
        self.inner.rules.is_none()
    }

    /// From now on this text is what the rules are made from, or, without one, their file again; they are made anew by the next
    /// [`Self::refresh`].
    pub(crate) fn store(&self, text: Option<Arc<str>>) {
        if let Some(rules) = &self.inner.rules {
            rules.store(text);
        }
    }

    /// Reads changed files again; identities are judged anew. Reads from the disk.
    ///
    /// # Errors
    /// They are bad: what held before holds on.
    pub fn refresh(&self) -> Result<Made, AccessError> {
        let Some(rules) = &self.inner.rules else { return Ok(Made::Same) };
        let made = rules.refresh()?;
        if made == Made::Anew {
            // Together: who is told of the change finds nothing older, and nothing older is kept after it.
            let mut known = self.inner.known.write();
            self.inner.version.send_modify(|version| *version += 1);
            *known = Known::default();
        }
        Ok(made)
    }

    /// Says when the rules have changed.
    pub(super) fn versions(&self) -> watch::Receiver<u64> {
        self.inner.version.subscribe()
    }

    /// The rules, unless there are none.
    pub(super) fn rules(&self) -> Option<&Rules> {
        self.inner.rules.as_ref()
    }

    /// Resolves once a token named a key that its issuer has not shown.
    pub(super) async fn key_missed(&self) {
        self.inner.key_missed.notified().await;
    }

    pub(super) fn tell_fetched(&self) {
        self.inner.fetched.notify_one();
    }

    /// Resolves once a key set was fetched that the next [`Self::refresh`] will find new. For one task.
    ///
    /// Cancel safe.
    pub(crate) async fn fetched(&self) {
        self.inner.fetched.notified().await;
    }

    /// Who shows this. Takes no memory for who is known already.
    pub(super) fn identify(&self, shown: Shown<'_>) -> Result<Arc<Identity>, Unknown> {
        let Some(rules) = &self.inner.rules else { return Ok(Arc::clone(&self.inner.everybody)) };
        let found = self.inner.known.read().find(shown);
        if let Some(identity) = found {
            return in_time(identity);
        }
        // Taken before the judgement: what is judged by older rules is not kept.
        let version = *self.inner.version.borrow();
        let judged = self.judge(&rules.current(), shown)?;
        let identity = in_time(Arc::new(judged))?;
        let mut known = self.inner.known.write();
        if *self.inner.version.borrow() == version {
            known.keep(shown, &identity);
        }
        drop(known);
        Ok(identity)
    }

    fn judge(&self, policy: &Policy, shown: Shown<'_>) -> Result<Identity, Unknown> {
        policy.judge(shown).inspect_err(|unknown| {
            if *unknown == Unknown::Key {
                self.inner.key_missed.notify_one();
            }
        })
    }
}

fn in_time(identity: Arc<Identity>) -> Result<Arc<Identity>, Unknown> {
    let is_over = identity.expires.is_some_and(|end| end <= SystemTime::now());
    if is_over { Err(Unknown::Expired) } else { Ok(identity) }
}

impl Known {
    fn find(&self, shown: Shown<'_>) -> Option<Arc<Identity>> {
        match shown {
            Shown::Token(token) => self.tokens.get(token).cloned(),
            Shown::Certificate(certificate) => self.certificates.get(&certificate.fingerprint).cloned(),
            Shown::Nothing => self.nobody.clone(),
        }
    }

    /// Beyond the bound all are forgotten: whoever comes back is judged again, one signature each.
    fn keep(&mut self, shown: Shown<'_>, identity: &Arc<Identity>) {
        if self.tokens.len() + self.certificates.len() >= IDENTITIES_KEPT {
            *self = Self::default();
        }
        let identity = Arc::clone(identity);
        match shown {
            Shown::Token(token) => drop(self.tokens.insert(token.into(), identity)),
            Shown::Certificate(certificate) => {
                drop(self.certificates.insert(certificate.fingerprint, identity));
            }
            Shown::Nothing => self.nobody = Some(identity),
        }
    }
}
