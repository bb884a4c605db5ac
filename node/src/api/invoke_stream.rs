//! One `InvokeStream`: many calls in flight in one task, answered in any order.
//!
//! The task never stops reading: a call beyond the bound is answered OVERLOADED under its tag. Only a caller who sends
//! and does not read loses the stream.

use std::{
    collections::{HashMap, VecDeque},
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use futures::FutureExt;
use rollcall_proto::api::{
    InvokeRequest, InvokeStreamRequest, InvokeStreamResponse, invoke_stream_request,
    invoke_stream_response::Result as Answer,
};
use rollcall_router::{Ended, Failure, Reason};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::{
    Arrival,
    calls::Calls,
    invoke_service::{Caller, Invoker, seen_by},
    rates::InFlight,
    retirement,
    status::{self, Refusal},
    validate::Invalid,
};
use crate::{
    access::Identity,
    limits::{STREAM_ANSWERS, STREAM_BURST, STREAM_CALLS},
    telemetry::traces::CallTrace,
};

/// Answers to one stream's calls.
pub(super) type Answers = mpsc::Sender<Result<InvokeStreamResponse, Status>>;

/// The state of one stream.
pub(super) struct CallStream<I> {
    caller: Caller<I>,
    who: Arc<Identity>,
    opened: Arrival,
    answers: Answers,
    calls: Box<dyn Calls>,
    /// The same, as its caller's.
    in_flight: InFlight,
    /// Those of them that are recorded, by tag.
    traces: HashMap<u64, CallTrace>,
    /// Answers that the transport has not taken yet.
    waiting: VecDeque<InvokeStreamResponse>,
    /// Whether its connection has reached its age: it takes no more calls, and ends once all are answered.
    is_retired: bool,
}

/// What a stream's task learned.
enum Step {
    Frame(Result<Option<InvokeStreamRequest>, Status>),
    Ended(Box<Ended>),
    Room,
    Retired,
    Closing,
}

impl<I: Invoker> CallStream<I> {
    pub(super) fn new(caller: Caller<I>, who: Arc<Identity>, opened: Arrival, answers: Answers) -> Self {
        let calls = caller.calls();
        Self {
            caller,
            who,
            opened,
            answers,
            calls,
            in_flight: InFlight::default(),
            traces: HashMap::new(),
            waiting: VecDeque::new(),
            is_retired: false,
        }
    }

    /// Runs until the caller has closed its side or the connection has `retired`, and everything is answered; or the caller is
    /// gone, or the node closes.
    pub(super) async fn run(
        mut self,
        mut requests: Streaming<InvokeStreamRequest>,
        retired: impl Future<Output = ()>,
        closing: CancellationToken,
    ) {
        let answers = self.answers.clone();
        let mut closing = pin!(closing.cancelled());
        let mut retired = pin!(retired);
        let mut gone = pin!(answers.closed());
        let mut reading = true;
        while (reading && !self.is_retired) || self.calls.count() > 0 || !self.waiting.is_empty() {
            let calls = &mut self.calls;
            let mut step = tokio::select! {
                frame = requests.message(), if reading => Step::Frame(frame),
                ended = poll_fn(|cx| calls.poll_ended(cx)) => Step::Ended(Box::new(ended)),
                Ok(permit) = answers.reserve(), if !self.waiting.is_empty() => {
                    if let Some(answer) = self.waiting.pop_front() {
                        permit.send(Ok(answer));
                    }
                    Step::Room
                }
                () = &mut retired, if !self.is_retired => Step::Retired,
                () = &mut closing => Step::Closing,
                () = &mut gone => return,
            };
            let mut burst = STREAM_BURST;
            // Calls that came together start together: one round for many of them.
            while let Step::Frame(Ok(Some(frame))) = step {
                self.received(frame);
                burst -= 1;
                let more = if burst > 0 { requests.message().now_or_never() } else { None };
                step = more.map_or(Step::Room, Step::Frame);
            }
            match step {
                Step::Frame(Ok(Some(_))) => {}
                Step::Frame(Ok(None)) => reading = false,
                Step::Frame(Err(status)) => return self.end(Refusal::of_transport(&status).into()).await,
                Step::Ended(ended) => self.ended(*ended),
                Step::Room => {}
                Step::Retired => self.is_retired = true,
                Step::Closing => return self.end(stopping()).await,
            }
            // What has ended by now goes out together: one wake-up and one packet for many answers.
            while let Some(ended) = poll_fn(|cx| self.calls.poll_ended(cx)).now_or_never() {
                self.ended(ended);
            }
            self.hand_over();
            if self.waiting.len() > STREAM_ANSWERS {
                return self.end(not_reading()).await;
            }
        }
        if reading {
            self.end(retirement::refusal().into()).await;
        }
    }

    fn ended(&mut self, ended: Ended) {
        self.in_flight.ended();
        let trace = if self.traces.is_empty() { None } else { self.traces.remove(&ended.tag) };
        self.caller.account(&ended.call, &ended.result, trace.as_ref());
        let answer = match ended.result {
            Ok(reply) => Answer::Response(Box::new(self.caller.response(reply, ended.call.request_id))),
            Err(failure) => {
                let seen = seen_by(&self.who, failure);
                Answer::Failure(Box::new(status::to_proto(seen)))
            }
        };
        self.waiting.push_back(InvokeStreamResponse { tag: ended.tag, result: Some(answer) });
    }

    /// A frame from the caller.
    fn received(&mut self, frame: InvokeStreamRequest) {
        let tag = frame.tag;
        let failed = match frame.kind {
            Some(invoke_stream_request::Kind::Call(request)) => self.start(tag, *request),
            Some(invoke_stream_request::Kind::Cancel(_)) => {
                self.calls.cancel(tag);
                Ok(())
            }
            None => Err(Invalid::new("kind", "is required: call or cancel").into()),
        };
        if let Err(failure) = failed {
            let answer = Answer::Failure(Box::new(status::to_proto(failure)));
            self.waiting.push_back(InvokeStreamResponse { tag, result: Some(answer) });
        }
    }

    fn start(&mut self, tag: u64, request: InvokeRequest) -> Result<(), Failure> {
        if self.is_retired {
            return Err(Failure::not_executed(Reason::ShuttingDown, retirement::MESSAGE));
        }
        if self.calls.count() + self.waiting.len() >= STREAM_CALLS {
            let message = format!("{STREAM_CALLS} calls are in flight on this stream");
            return Err(Failure::not_executed(Reason::Overloaded, message));
        }
        if self.calls.contains(tag) {
            return Err(Invalid::new("tag", "a call with this tag is in flight").into());
        }
        let arrival = Arrival { grpc_deadline: self.opened.grpc_deadline, ..Arrival::now(None) };
        let (call, trace) = self.caller.check(request, arrival, &self.who, &mut self.in_flight)?;
        if let Some(trace) = trace {
            self.traces.insert(tag, trace);
        }
        self.calls.start(tag, call);
        Ok(())
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
