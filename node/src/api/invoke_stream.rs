//! One `InvokeStream`: many calls in flight in one task, answered in any order.
//!
//! The task never stops reading: a call beyond the bound is answered OVERLOADED under its tag. Only a caller who sends
//! and does not read loses the stream.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    pin::pin,
};

use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, AbortRegistration, Abortable},
    stream::FuturesUnordered,
};
use rollcall_proto::api::{
    self, InvokeRequest, InvokeStreamRequest, InvokeStreamResponse, invoke_stream_request,
    invoke_stream_response::Result as Answer,
};
use rollcall_router::{Failure, Outcome, Reason};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{
    Arrival,
    invoke_service::{Caller, Invoker},
    status::{self, Refusal},
    validate::Invalid,
};
use crate::limits::{STREAM_ANSWERS, STREAM_CALLS};

/// Answers to one stream's calls.
pub(super) type Answers = mpsc::Sender<Result<InvokeStreamResponse, Status>>;

/// The state of one stream.
pub(super) struct CallStream<I> {
    caller: Caller<I>,
    opened: Arrival,
    answers: Answers,
    /// By tag, how to cancel the call.
    running: HashMap<u64, AbortHandle>,
    /// Answers that the transport has not taken yet.
    waiting: VecDeque<InvokeStreamResponse>,
}

/// What a stream's task learned.
enum Step {
    Frame(Result<Option<InvokeStreamRequest>, Status>),
    Ended(InvokeStreamResponse),
    Room,
    Closing,
}

impl<I: Invoker> CallStream<I> {
    pub(super) fn new(caller: Caller<I>, opened: Arrival, answers: Answers) -> Self {
        Self { caller, opened, answers, running: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Runs until the caller has closed its side and everything is answered, or the caller is gone, or the node closes.
    pub(super) async fn run(
        mut self,
        mut requests: Streaming<InvokeStreamRequest>,
        closing: CancellationToken,
    ) {
        let (caller, answers) = (self.caller.clone(), self.answers.clone());
        let mut closing = pin!(closing.cancelled());
        let mut gone = pin!(answers.closed());
        let mut calls = FuturesUnordered::new();
        let mut reading = true;
        while reading || !calls.is_empty() || !self.waiting.is_empty() {
            let step = tokio::select! {
                frame = requests.message(), if reading => Step::Frame(frame),
                Some(answer) = calls.next(), if !calls.is_empty() => Step::Ended(answer),
                Ok(permit) = answers.reserve(), if !self.waiting.is_empty() => {
                    if let Some(answer) = self.waiting.pop_front() {
                        permit.send(Ok(answer));
                    }
                    Step::Room
                }
                () = &mut closing => Step::Closing,
                () = &mut gone => return,
            };
            match step {
                Step::Frame(Ok(Some(frame))) => {
                    if let Some((tag, request, registration)) = self.received(frame) {
                        let arrival =
                            Arrival { grpc_deadline: self.opened.grpc_deadline, ..Arrival::now(None) };
                        let call = caller.call(request, arrival);
                        calls.push(Abortable::new(call, registration).map(move |ended| answer(tag, ended)));
                    }
                }
                Step::Frame(Ok(None)) => reading = false,
                Step::Frame(Err(status)) => return self.end(Refusal::of_transport(&status).into()).await,
                Step::Ended(answer) => self.ended(answer),
                Step::Room => {}
                Step::Closing => return self.end(stopping()).await,
            }
            // What has ended by now goes out together: one wake-up and one packet for many answers.
            while let Some(Some(answer)) = calls.next().now_or_never() {
                self.ended(answer);
            }
            self.hand_over();
            if self.waiting.len() > STREAM_ANSWERS {
                return self.end(not_reading()).await;
            }
        }
    }

    fn ended(&mut self, answer: InvokeStreamResponse) {
        self.running.remove(&answer.tag);
        self.waiting.push_back(answer);
    }

    /// A frame from the caller; the call that it starts, and what cancels it.
    fn received(&mut self, frame: InvokeStreamRequest) -> Option<(u64, InvokeRequest, AbortRegistration)> {
        let tag = frame.tag;
        match frame.kind {
            Some(invoke_stream_request::Kind::Call(request)) => match self.admit(tag) {
                Ok(registration) => return Some((tag, request, registration)),
                Err(failure) => self.waiting.push_back(failed(tag, status::to_proto(failure))),
            },
            Some(invoke_stream_request::Kind::Cancel(_)) => {
                if let Some(call) = self.running.get(&tag) {
                    call.abort();
                }
            }
            None => {
                let failure = Invalid::new("kind", "is required: call or cancel").into();
                self.waiting.push_back(failed(tag, status::to_proto(failure)));
            }
        }
        None
    }

    fn admit(&mut self, tag: u64) -> Result<AbortRegistration, Failure> {
        if self.running.len() + self.waiting.len() >= STREAM_CALLS {
            let message = format!("{STREAM_CALLS} calls are in flight on this stream");
            return Err(Failure::not_executed(Reason::Overloaded, message));
        }
        match self.running.entry(tag) {
            Entry::Occupied(_) => Err(Invalid::new("tag", "a call with this tag is in flight").into()),
            Entry::Vacant(free) => {
                let (handle, registration) = AbortHandle::new_pair();
                free.insert(handle);
                Ok(registration)
            }
        }
    }

    /// Gives the transport what it has room for, without waiting.
    fn hand_over(&mut self) {
        while !self.waiting.is_empty() {
            let Ok(permit) = self.answers.try_reserve() else { return };
            if let Some(answer) = self.waiting.pop_front() {
                permit.send(Ok(answer));
            }
        }
    }

    async fn end(self, status: Status) {
        // A caller who has gone needs no status.
        let _ = self.answers.send(Err(status)).await;
    }
}

fn answer<E>(
    tag: u64,
    ended: Result<Result<api::InvokeResponse, super::invoke_service::CallError>, E>,
) -> InvokeStreamResponse {
    match ended {
        Ok(Ok(response)) => InvokeStreamResponse { tag, result: Some(Answer::Response(response)) },
        Ok(Err(error)) => failed(tag, error.into_proto()),
        Err(_) => {
            let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "the caller cancelled the call");
            failed(tag, status::to_proto(failure))
        }
    }
}

fn failed(tag: u64, failure: api::Failure) -> InvokeStreamResponse {
    InvokeStreamResponse { tag, result: Some(Answer::Failure(failure)) }
}

fn stopping() -> Status {
    Refusal::new(
        Code::Unavailable,
        Reason::ShuttingDown.as_str(),
        "the node stops; open the stream on another",
    )
    .into()
}

fn not_reading() -> Status {
    let message = format!("{STREAM_ANSWERS} answers wait for a caller who does not read them");
    Refusal::new(Code::ResourceExhausted, Reason::Overloaded.as_str(), message).into()
}
