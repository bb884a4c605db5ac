//! The caller's token, from a file that is read again when it changes.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use http::HeaderValue;

use crate::{Kept, Made, Source, TlsError, limits};

/// A file that holds a token and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenFile(PathBuf);

/// A token, as it is now.
#[derive(Debug)]
pub(crate) struct Token {
    kept: Kept<TokenFile>,
    since: Instant,
    /// When the file was looked at last, in milliseconds since then.
    looked_ms: AtomicU64,
}

impl Token {
    pub(crate) fn load(path: PathBuf) -> Result<Self, TlsError> {
        Ok(Self { kept: Kept::load(TokenFile(path))?, since: Instant::now(), looked_ms: AtomicU64::new(0) })
    }

    /// The header that carries it. Now and then the file is looked at, beside: what it says then is there a moment later.
    pub(crate) fn header(self: &Arc<Self>) -> HeaderValue {
        let now_ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let due = u128::from(now_ms.saturating_sub(looked_ms)) >= limits::CLIENT_REREAD.as_millis();
        let mine = || {
            self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if due && mine() {
            let token = Arc::clone(self);
            tokio::task::spawn_blocking(move || token.refresh());
        }
        HeaderValue::clone(&self.kept.current())
    }

    /// Looks at the file now: before what lasts, such as a device's stream.
    pub(crate) async fn fresh_header(self: &Arc<Self>) -> HeaderValue {
        let token = Arc::clone(self);
        let _ = tokio::task::spawn_blocking(move || token.refresh()).await;
        HeaderValue::clone(&self.kept.current())
    }

    fn refresh(&self) {
        match self.kept.refresh() {
            Ok(Made::Same) => {}
            Ok(Made::Anew) => tracing::debug!("the token has changed"),
            Err(error) => tracing::warn!(%error, "the token's file is bad; the old one stays"),
        }
    }
}

impl Source for TokenFile {
    type Made = HeaderValue;
    type Error = TlsError;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.0.clone()]
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<HeaderValue, TlsError> {
        let malformed = |problem: &str| TlsError::Malformed {
            path: self.0.clone(),
            wanted: "token",
            problem: problem.to_owned(),
        };
        let text = contents.first().map(Vec::as_slice).unwrap_or_default().trim_ascii();
        if text.is_empty() {
            return Err(malformed("it is empty"));
        }
        let mut value = HeaderValue::from_bytes(&[b"Bearer ", text].concat())
            .map_err(|_| malformed("it has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn unreadable(path: PathBuf, cause: io::Error) -> TlsError {
        TlsError::Unreadable { path, cause }
    }
}
