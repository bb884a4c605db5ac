//! One `InvokeStream` to one node: the calls that are in flight on it, and why it ended.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use rollcall_transport::AuthorizedChannel;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use super::{CallError, limits::ANSWER_PATIENCE, stream::Credit};
use crate::api::{
    CancelCall, InvokeRequest, InvokeResponse, InvokeStreamRequest, InvokeStreamResponse, Outcome, Reason,
    invoke_service_client::InvokeServiceClient, invoke_stream_request::Kind,
    invoke_stream_response::Result as Answer,
};

/// How a call on a line ended.
pub(super) type End = Result<InvokeResponse, Box<Failed>>;

/// Why a call on a line has no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: CallError,
    /// Its credit, if the node takes no more calls on this line and never looked at this one: another line may take it.
    pub(super) kept: Option<Credit>,
}

/// A call that has no answer. Its credit is free when the node has answered, not when the caller has gone.
#[derive(Debug)]
struct Waiting {
    waiter: oneshot::Sender<End>,
    credit: Credit,
}

/// The calls of a line, or why it ended.
#[derive(Debug)]
enum Table {
    Open(HashMap<u64, Waiting>),
    Ended(CallError),
}

/// A line of calls. Dropping it lets the node finish what is in flight.
#[derive(Debug)]
pub(super) struct Line {
    table: Arc<Mutex<Table>>,
    frames: mpsc::Sender<InvokeStreamRequest>,
    next_tag: AtomicU64,
}

impl Line {
    pub(super) async fn open(
        mut calls: InvokeServiceClient<AuthorizedChannel>,
        credits: usize,
    ) -> Result<Self, Status> {
        // Each call in flight has one frame that starts it, and one that cancels it.
        let (frames, requests) = mpsc::channel(2 * credits);
        let answers = calls.invoke_stream(ReceiverStream::new(requests)).await?.into_inner();
        let table = Arc::new(Mutex::new(Table::Open(HashMap::new())));
        tokio::spawn(read(Arc::clone(&table), answers));
        Ok(Self { table, frames, next_tag: AtomicU64::new(0) })
    }

    /// Makes a call.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the device.
    pub(super) async fn call(&self, mut request: InvokeRequest, credit: Credit, deadline: Instant) -> End {
        request.timeout = deadline.saturating_duration_since(Instant::now()).try_into().ok();
        let tag = self.next_tag.fetch_add(1, Ordering::Relaxed);
        let answer = self.enter(tag, credit);
        let mut in_flight = InFlight { line: self, tag, ended: false };
        let frame = InvokeStreamRequest { tag, kind: Some(Kind::Call(request.into())) };
        // If nobody takes it, the reader has ended or is about to: it answers.
        let _ = self.frames.send(frame).await;
        let Ok(ended) = timeout_at(deadline + ANSWER_PATIENCE, answer).await else {
            return Err(for_good(CallError::deadline(Outcome::Unknown)));
        };
        in_flight.ended = true;
        ended.unwrap_or_else(|_lost| Err(for_good(self.why_ended())))
    }

    fn enter(&self, tag: u64, credit: Credit) -> oneshot::Receiver<End> {
        let (waiter, answer) = oneshot::channel();
        match &mut *self.table.lock() {
            Table::Open(calls) => {
                calls.insert(tag, Waiting { waiter, credit });
            }
            // It never was in flight.
            Table::Ended(why) => {
                let error = CallError { outcome: Outcome::NotExecuted, ..why.clone() };
                // Its receiver is here.
                let _ = waiter.send(Err(failed(error, credit)));
            }
        }
        answer
    }

    fn why_ended(&self) -> CallError {
        match &*self.table.lock() {
            Table::Open(_) => {
                CallError::local(Code::Unknown, Reason::Unspecified, Outcome::Unknown, "the stream ends")
            }
            Table::Ended(why) => why.clone(),
        }
    }
}

/// Cancels its call when it is dropped before the end.
struct InFlight<'a> {
    line: &'a Line,
    tag: u64,
    ended: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let cancel = InvokeStreamRequest { tag: self.tag, kind: Some(Kind::Cancel(CancelCall {})) };
            // Without room it ends at its deadline.
            let _ = self.line.frames.try_send(cancel);
        }
    }
}

/// A node that stops, or ends an old connection, takes no more calls here; another does.
fn failed(error: CallError, credit: Credit) -> Box<Failed> {
    let is_over = error.reason == Reason::ShuttingDown && error.outcome == Outcome::NotExecuted;
    Box::new(Failed { error, kept: is_over.then_some(credit) })
}

fn for_good(error: CallError) -> Box<Failed> {
    Box::new(Failed { error, kept: None })
}

async fn read(table: Arc<Mutex<Table>>, mut answers: Streaming<InvokeStreamResponse>) {
    loop {
        match answers.message().await {
            Ok(Some(answer)) => answered(&table, answer),
            Ok(None) => return ended(&table, Status::unavailable("the node ended the stream").into()),
            Err(status) => return ended(&table, status.into()),
        }
    }
}

fn answered(table: &Mutex<Table>, answer: InvokeStreamResponse) {
    let waiting = match &mut *table.lock() {
        Table::Open(calls) => calls.remove(&answer.tag),
        Table::Ended(_) => None,
    };
    let Some(Waiting { waiter, credit }) = waiting else { return };
    let end = match answer.result {
        Some(Answer::Response(response)) => Ok(*response),
        Some(Answer::Failure(failure)) => Err(failed((*failure).into(), credit)),
        None => Err(for_good(Status::unknown("an answer that says nothing").into())),
    };
    // A caller who has gone needs no answer.
    let _ = waiter.send(end);
}

/// Unless the node says so, nobody knows of the calls in flight whether they ran.
fn ended(table: &Mutex<Table>, why: CallError) {
    let former = std::mem::replace(&mut *table.lock(), Table::Ended(why.clone()));
    let Table::Open(calls) = former else { return };
    for (_, Waiting { waiter, credit }) in calls {
        let _ = waiter.send(Err(failed(why.clone(), credit)));
    }
}
