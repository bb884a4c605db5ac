//! The first fault of a store: sticky, seen by everyone, waited for by those who stop the process.

use std::sync::Arc;

use tokio::sync::watch;

use crate::storage::StorageError;

#[derive(Debug)]
pub(in crate::storage) struct Fault(watch::Sender<Option<StorageError>>);

impl Fault {
    pub(in crate::storage) fn none() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Poisons the store; the first fault stays. Returns the error that waiting operations get.
    pub(in crate::storage) fn set(&self, error: StorageError) -> StorageError {
        let first = self.0.send_if_modified(|fault| match fault {
            Some(_) => false,
            None => {
                *fault = Some(error.clone());
                true
            }
        });
        if first {
            tracing::error!(%error, "the log store failed, nothing is acknowledged any more");
        }
        poisoned(error)
    }

    /// An error if the store is poisoned.
    pub(in crate::storage) fn check(&self) -> Result<(), StorageError> {
        match &*self.0.borrow() {
            None => Ok(()),
            Some(error) => Err(poisoned(error.clone())),
        }
    }

    /// Resolves when the store is poisoned.
    pub(in crate::storage) async fn wait(&self) -> StorageError {
        let mut watch = self.0.subscribe();
        loop {
            if let Some(error) = watch.borrow_and_update().clone() {
                return error;
            }
            if watch.changed().await.is_err() {
                return StorageError::Closed;
            }
        }
    }
}

fn poisoned(error: StorageError) -> StorageError {
    match error {
        StorageError::Poisoned(_) => error,
        other => StorageError::Poisoned(Arc::new(other)),
    }
}
