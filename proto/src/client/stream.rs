//! Many calls in flight on one stream to one node: about ten times cheaper per call than one by one.
//!
//! Nothing is retried here: the failure says what is known, and another stream may be opened.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rollcall_transport::AuthorizedChannel;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout_at,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{CallError, calls::deadline, limits::ANSWER_PATIENCE};
use crate::api::{
    CancelCall, InvokeRequest, InvokeResponse, InvokeStreamRequest, InvokeStreamResponse, Outcome, Reason,
    invoke_service_client::InvokeServiceClient, invoke_stream_request::Kind,
    invoke_stream_response::Result as Answer,
};

type Answered = Result<InvokeResponse, CallError>;

/// A call that has no answer. Its credit is free when the node has answered, not when the caller has gone.
#[derive(Debug)]
struct Waiting {
    waiter: oneshot::Sender<Answered>,
    _credit: OwnedSemaphorePermit,
}

/// The calls of a stream, or why it ended.
#[derive(Debug)]
enum Table {
    Open(HashMap<u64, Waiting>),
    Ended(CallError),
}

#[derive(Debug)]
struct Shared {
    table: Mutex<Table>,
    credits: Arc<Semaphore>,
    next_tag: AtomicU64,
}

/// A stream of calls. Cheap to clone; dropping the last clone lets the node finish what is in flight.
#[derive(Debug, Clone)]
pub struct CallStream {
    shared: Arc<Shared>,
    frames: mpsc::Sender<InvokeStreamRequest>,
    timeout: Duration,
}

impl CallStream {
    pub(super) async fn open(
        mut calls: InvokeServiceClient<AuthorizedChannel>,
        credits: usize,
        timeout: Duration,
    ) -> Result<Self, Status> {
        // Each call in flight has one frame that starts it, and one that cancels it.
        let (frames, requests) = mpsc::channel(2 * credits);
        let answers = calls.invoke_stream(ReceiverStream::new(requests)).await?.into_inner();
        let shared = Arc::new(Shared {
            table: Mutex::new(Table::Open(HashMap::new())),
            credits: Arc::new(Semaphore::new(credits)),
            next_tag: AtomicU64::new(0),
        });
        tokio::spawn(read(Arc::clone(&shared), answers));
        Ok(Self { shared, frames, timeout })
    }

    /// Calls a device; waits for a credit first. A call without `timeout` gets the client's.
    ///
    /// # Errors
    /// Why there is no answer; `UNKNOWN` if the stream broke while it was in flight.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the device.
    pub async fn call(&self, mut request: InvokeRequest) -> Answered {
        let deadline = deadline(request.timeout, self.timeout);
        let credit = timeout_at(deadline, Arc::clone(&self.shared.credits).acquire_owned()).await;
        let credit = match credit {
            Ok(Ok(credit)) => credit,
            Ok(Err(_closed)) => return Err(self.shared.why_ended()),
            Err(_elapsed) => return Err(CallError::deadline(Outcome::NotExecuted)),
        };
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        request.timeout = left.try_into().ok();
        let tag = self.shared.next_tag.fetch_add(1, Ordering::Relaxed);
        let answer = self.shared.enter(tag, credit)?;
        let mut in_flight = InFlight { stream: self, tag, ended: false };
        let frame = InvokeStreamRequest { tag, kind: Some(Kind::Call(request.into())) };
        // If nobody takes it, the reader has ended or is about to: it answers.
        let _ = self.frames.send(frame).await;
        let answered = timeout_at(deadline + ANSWER_PATIENCE, answer).await;
        match answered {
            Ok(answered) => {
                in_flight.ended = true;
                answered.unwrap_or_else(|_lost| Err(self.shared.why_ended()))
            }
            Err(_elapsed) => Err(CallError::deadline(Outcome::Unknown)),
        }
    }
}

/// Cancels its call when it is dropped before the end.
struct InFlight<'a> {
    stream: &'a CallStream,
    tag: u64,
    ended: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let cancel = InvokeStreamRequest { tag: self.tag, kind: Some(Kind::Cancel(CancelCall {})) };
            // Without room it ends at its deadline.
            let _ = self.stream.frames.try_send(cancel);
        }
    }
}

impl Shared {
    fn enter(
        &self,
        tag: u64,
        credit: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Answered>, CallError> {
        let (waiter, answer) = oneshot::channel();
        match &mut *self.table.lock() {
            Table::Open(calls) => {
                calls.insert(tag, Waiting { waiter, _credit: credit });
                Ok(answer)
            }
            // It never was in flight.
            Table::Ended(why) => Err(CallError { outcome: Outcome::NotExecuted, ..why.clone() }),
        }
    }

    fn why_ended(&self) -> CallError {
        match &*self.table.lock() {
            Table::Open(_) => {
                CallError::local(Code::Unknown, Reason::Unspecified, Outcome::Unknown, "the stream ends")
            }
            Table::Ended(why) => CallError { outcome: Outcome::NotExecuted, ..why.clone() },
        }
    }

    fn answered(&self, answer: InvokeStreamResponse) {
        let waiting = match &mut *self.table.lock() {
            Table::Open(calls) => calls.remove(&answer.tag),
            Table::Ended(_) => None,
        };
        let Some(Waiting { waiter, .. }) = waiting else { return };
        let answered = match answer.result {
            Some(Answer::Response(response)) => Ok(*response),
            Some(Answer::Failure(failure)) => Err((*failure).into()),
            None => Err(Status::unknown("an answer that says nothing").into()),
        };
        // A caller who has gone needs no answer.
        let _ = waiter.send(answered);
    }

    /// Nobody knows of the calls in flight whether they ran.
    fn ended(&self, why: CallError) {
        let why = CallError { outcome: Outcome::Unknown, ..why };
        let former = std::mem::replace(&mut *self.table.lock(), Table::Ended(why.clone()));
        self.credits.close();
        let Table::Open(calls) = former else { return };
        for (_, Waiting { waiter, .. }) in calls {
            let _ = waiter.send(Err(why.clone()));
        }
    }
}

async fn read(shared: Arc<Shared>, mut answers: Streaming<InvokeStreamResponse>) {
    loop {
        match answers.message().await {
            Ok(Some(answer)) => shared.answered(answer),
            Ok(None) => return shared.ended(Status::unavailable("the node ended the stream").into()),
            Err(status) => return shared.ended(status.into()),
        }
    }
}
