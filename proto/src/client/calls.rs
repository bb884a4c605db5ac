//! The client: one call at a time, sent again where that is safe.

use std::{sync::Arc, time::Duration};

use rollcall_transport::AuthorizedChannel;
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Status};

use super::{
    BroadcastStream, CallError, CallStream, ClientBuilder, RetryBudget, Verdict, backoff, judge,
    limits::{ANSWER_PATIENCE, BROADCAST_TIMEOUT, STREAM_CREDITS_MOST, UNSENT_AGAIN},
    line::Line,
    nodes::Nodes,
    retry::sum_up,
};
use crate::api::{
    BroadcastRequest, InvokeRequest, InvokeResponse, Outcome, invoke_service_client::InvokeServiceClient,
};

/// Calls devices through any of several nodes. Cheap to clone; clones share connections and the retry budget.
#[derive(Debug, Clone)]
pub struct Client {
    nodes: Nodes,
    budget: Arc<RetryBudget>,
    timeout: Duration,
    attempts: u32,
}

/// Calls through one node.
type Calls = InvokeServiceClient<AuthorizedChannel>;

/// What a call is to the retries.
#[derive(Debug, Clone, Copy)]
struct Terms {
    idempotent: bool,
    deadline: Instant,
    attempts: u32,
}

impl Client {
    /// A client over the API addresses of some nodes, such as `http://n1:7400`. More of them than one make a difference
    /// when a node is lost; not all have to be named.
    pub fn builder<A: Into<String>>(nodes: impl IntoIterator<Item = A>) -> ClientBuilder {
        ClientBuilder::new(nodes.into_iter().map(Into::into).collect())
    }

    pub(super) fn new(nodes: Nodes, settings: ClientBuilder, budget: RetryBudget) -> Self {
        Self { nodes, budget: Arc::new(budget), timeout: settings.timeout, attempts: settings.attempts }
    }

    /// Calls one device. A call without `timeout` gets the client's; an idempotent one without `request_id` gets one.
    ///
    /// Sent again within the deadline and the retry budget where [`judge`] says so, each time through another node.
    ///
    /// # Errors
    /// Why there is no answer, with what is known of the execution in all attempts together.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call at the device.
    pub async fn invoke(&self, mut request: InvokeRequest) -> Result<InvokeResponse, CallError> {
        if request.idempotent && request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        let deadline = deadline(request.timeout, self.timeout);
        let terms = Terms { idempotent: request.idempotent, deadline, attempts: self.attempts };
        let attempt = |mut calls: Calls| {
            let left = deadline.saturating_duration_since(Instant::now());
            let request = InvokeRequest { timeout: left.try_into().ok(), ..request.clone() };
            async move { calls.invoke(within(request, left)).await.map(tonic::Response::into_inner) }
        };
        self.retried(terms, attempt).await
    }

    /// Opens a stream of calls, on which this many may be in flight, 10,000 at most. They all go through one node until that
    /// stops, or ends the connection because of its age.
    ///
    /// # Errors
    /// No node could be reached.
    pub async fn stream(&self, credits: usize) -> Result<CallStream, CallError> {
        CallStream::open(self.clone(), credits.clamp(1, STREAM_CREDITS_MOST)).await
    }

    /// Opens the line of a stream.
    pub(super) async fn line(&self, credits: usize) -> Result<Line, CallError> {
        let deadline = Instant::now() + self.timeout;
        let terms = Terms { idempotent: true, deadline, attempts: self.attempts };
        self.retried(terms, |calls| Line::open(calls, credits)).await
    }

    /// How long a call may take that does not say.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls every connected device of a group, or those that carry some labels; one without `timeout` may take ten
    /// minutes. Only what has not begun is sent again.
    ///
    /// # Errors
    /// Why it did not begin; `NO_DEVICE`: nobody is there.
    pub async fn broadcast(&self, mut request: BroadcastRequest) -> Result<BroadcastStream, CallError> {
        if request.idempotent && request.request_id.is_empty() {
            request.request_id = new_request_id();
        }
        let deadline = deadline(request.timeout, BROADCAST_TIMEOUT);
        let terms = Terms { idempotent: request.idempotent, deadline, attempts: self.attempts };
        let attempt = |mut calls: Calls| {
            let left = deadline.saturating_duration_since(Instant::now());
            let request = BroadcastRequest { timeout: left.try_into().ok(), ..request.clone() };
            async move {
                let answers = calls.broadcast(within(request, left)).await?.into_inner();
                BroadcastStream::begin(answers, deadline + ANSWER_PATIENCE).await
            }
        };
        self.retried(terms, attempt).await
    }

    async fn retried<T, F: Future<Output = Result<T, Status>>>(
        &self,
        terms: Terms,
        attempt: impl Fn(Calls) -> F,
    ) -> Result<T, CallError> {
        let (mut former, mut uncertain) = (None, None);
        let (mut number, mut unsent) = (1, 0);
        loop {
            let (seat, calls) = self.nodes.next(former);
            let answered = timeout_at(terms.deadline + ANSWER_PATIENCE, attempt(calls)).await;
            let error = match answered {
                Ok(Ok(answer)) => {
                    self.nodes.reached(seat);
                    self.budget.succeeded();
                    return Ok(answer);
                }
                Ok(Err(status)) => CallError::from(status),
                Err(_elapsed) => CallError::deadline(Outcome::Unknown),
            };
            if error.unreachable {
                self.nodes.unreachable(seat);
            } else {
                self.nodes.reached(seat);
            }
            former = Some(seat);
            if error.unsent && unsent < UNSENT_AGAIN && Instant::now() < terms.deadline {
                unsent += 1;
                continue;
            }
            let Some(pause) = self.pause(&error, terms, number) else {
                return Err(sum_up(error, uncertain));
            };
            if error.outcome != Outcome::NotExecuted {
                uncertain = Some(error);
            }
            tokio::time::sleep(pause).await;
            number += 1;
        }
    }

    /// How long to wait before the next attempt; `None`: there is none.
    fn pause(&self, error: &CallError, terms: Terms, attempts: u32) -> Option<Duration> {
        let Verdict::Again(named) = judge(error, terms.idempotent) else {
            if !error.refuses_retry {
                self.budget.succeeded();
            }
            return None;
        };
        let within_budget = self.budget.failed();
        let pause = named.unwrap_or_else(|| backoff::pause(attempts, rand::random()));
        let in_time = Instant::now() + pause < terms.deadline;
        (within_budget && attempts < terms.attempts && in_time).then_some(pause)
    }
}

/// The message with the gRPC deadline: a little later than the call's own, so that the node's word on it comes first.
fn within<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left + ANSWER_PATIENCE);
    request
}

pub(super) fn deadline(asked: Option<prost_types::Duration>, default: Duration) -> Instant {
    let asked = asked.and_then(|asked| Duration::try_from(asked).ok());
    Instant::now() + asked.unwrap_or(default)
}

fn new_request_id() -> String {
    format!("{:016x}{:08x}", rand::random::<u64>(), rand::random::<u32>())
}
