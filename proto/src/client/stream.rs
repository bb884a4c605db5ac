//! Many calls in flight on one stream to one node: about ten times cheaper per call than one by one.
//!
//! A node that stops, or that ends the connection because of its age, refuses further calls on the stream: those go on a new
//! one. Nothing else is sent again here: the failure says what is known, and another stream may be opened.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use super::{CallError, Client, calls::deadline, limits::UNSENT_AGAIN, line::Line};
use crate::api::{InvokeRequest, InvokeResponse, Outcome};

/// The right to have a call in flight.
pub(super) type Credit = OwnedSemaphorePermit;

type Answered = Result<InvokeResponse, CallError>;

/// A stream of calls. Cheap to clone; dropping the last clone lets the node finish what is in flight.
#[derive(Debug, Clone)]
pub struct CallStream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    most: usize,
    credits: Arc<Semaphore>,
    line: Mutex<Arc<Line>>,
    renewing: tokio::sync::Mutex<Option<CallError>>,
    /// How often another line was to be opened.
    renewals: AtomicU64,
}

impl CallStream {
    pub(super) async fn open(client: Client, most: usize) -> Result<Self, CallError> {
        let line = Mutex::new(Arc::new(client.line(most).await?));
        let shared = Shared {
            client,
            most,
            credits: Arc::new(Semaphore::new(most)),
            line,
            renewing: tokio::sync::Mutex::default(),
            renewals: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Calls a device; waits for a credit first. A call without `timeout` gets the client's.
    ///
    /// # Errors
    /// Why there is no answer; `UNKNOWN` if the stream broke while it was in flight.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the device.
    pub async fn call(&self, request: InvokeRequest) -> Answered {
        let shared = &self.shared;
        let deadline = deadline(request.timeout, shared.client.timeout());
        let credit = timeout_at(deadline, Arc::clone(&shared.credits).acquire_owned()).await;
        let Ok(Ok(mut credit)) = credit else { return Err(CallError::deadline(Outcome::NotExecuted)) };
        let mut renewed = 0;
        loop {
            let line = Arc::clone(&shared.line.lock());
            let failed = match line.call(request.clone(), credit, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => *failed,
            };
            match failed.kept.filter(|_| renewed < UNSENT_AGAIN) {
                None => return Err(failed.error),
                Some(kept) => (credit, renewed) = (kept, renewed + 1),
            }
            timeout_at(deadline, shared.renew(&line)).await.unwrap_or(Err(failed.error))?;
        }
    }
}

impl Shared {
    /// Opens another line than this one, unless another call has done so. Of those that ask at the same time one tries.
    async fn renew(&self, over: &Arc<Line>) -> Result<(), CallError> {
        let asked = self.renewals.load(Ordering::Acquire);
        let mut failed = self.renewing.lock().await;
        if !Arc::ptr_eq(&self.line.lock(), over) {
            return Ok(());
        }
        if let Some(error) = failed.as_ref().filter(|_| self.renewals.load(Ordering::Acquire) != asked) {
            return Err(error.clone());
        }
        let opened = self.client.line(self.most).await;
        self.renewals.fetch_add(1, Ordering::Release);
        match opened {
            Ok(line) => {
                *self.line.lock() = Arc::new(line);
                *failed = None;
                Ok(())
            }
            Err(error) => {
                let error = CallError { outcome: Outcome::NotExecuted, ..error };
                *failed = Some(error.clone());
                Err(error)
            }
        }
    }
}
