//! `rollcall.v1.InvokeService`: calls to devices.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
};

use compact_str::CompactString;
use futures::Stream;
use rollcall_proto::api::{
    self, BroadcastRequest, InvokeRequest, InvokeResponse, InvokeStreamRequest, InvokeStreamResponse,
    invoke_service_server::InvokeService,
};
use rollcall_registry::{
    Registrar,
    model::{ids::ClusterId, policy::GroupPolicy},
};
use rollcall_router::{Broadcast, Call, CallFacts, Failure, Reason, Reply, Router, Started, Timings};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Arrival,
    broadcast::Answers,
    calls::{Calls, EachByItself},
    group_policies,
    invoke_stream::CallStream,
    rates::{CallRates, InFlight},
    retirement::retired,
    status, validate,
};
use crate::{
    access::{
        Identity, Verb,
        audit::{self, Refused},
    },
    config::{CallLimits, RateLimits},
    limits,
    telemetry::{
        AccessLog, CallAccounts, EndedCall,
        traces::{self, CallTrace, Traces},
    },
};

/// What answers calls: the router, or a script in tests.
pub trait Invoker: Clone + Send + Sync + 'static {
    /// Calls a device. Dropping the future cancels the call at the device.
    ///
    /// # Errors
    /// Every way a call can fail, as a value.
    fn invoke(&self, call: Call) -> impl Future<Output = Result<Reply, Failure>> + Send;

    /// For a caller who has many calls in flight.
    fn calls(&self) -> Box<dyn Calls> {
        Box::new(EachByItself::new(self.clone()))
    }

    /// Calls many devices. Dropping the events stops it.
    ///
    /// # Errors
    /// It was not begun.
    fn broadcast(&self, broadcast: Broadcast) -> impl Future<Output = Result<Started, Failure>> + Send;

    /// The cluster that epochs and indexes belong to; `None` before it is founded.
    fn cluster_id(&self) -> Option<ClusterId>;

    /// What holds for calls to a group. Answered from memory, without a lock.
    fn group_policy(&self, _namespace: &str, _group: &str) -> GroupPolicy {
        GroupPolicy::default()
    }
}

/// Calls by the router.
#[derive(Clone)]
pub struct Routed<R: Registrar + Clone> {
    router: Router<R>,
    registry: R,
}

impl<R: Registrar + Clone> Routed<R> {
    /// Calls by this router over this registry.
    pub fn new(router: Router<R>, registry: R) -> Self {
        Self { router, registry }
    }
}

impl<R: Registrar + Clone> Invoker for Routed<R> {
    fn invoke(&self, call: Call) -> impl Future<Output = Result<Reply, Failure>> + Send {
        self.router.invoke(call)
    }

    fn calls(&self) -> Box<dyn Calls> {
        Box::new(self.router.pipeline())
    }

    async fn broadcast(&self, broadcast: Broadcast) -> Result<Started, Failure> {
        self.router.broadcast(broadcast).await
    }

    fn cluster_id(&self) -> Option<ClusterId> {
        self.registry.routes().cluster_id()
    }

    fn group_policy(&self, namespace: &str, group: &str) -> GroupPolicy {
        self.registry.routes().group_policy(namespace, group)
    }
}

/// Serves calls.
#[derive(Clone)]
pub struct InvokeApi<I> {
    caller: Caller<I>,
    closing: CancellationToken,
}

impl<I: Invoker> InvokeApi<I> {
    /// Calls through `invoker`; streams end when `closing` is cancelled.
    pub fn new(
        invoker: I,
        calls: CallLimits,
        log: AccessLog,
        traces: Traces,
        closing: CancellationToken,
    ) -> Self {
        let accounts = CallAccounts::new(log);
        let rates = CallRates::new(RateLimits::default());
        let caller = Caller { invoker, calls, rates, accounts, traces, cluster_id: Arc::default() };
        Self { caller, closing }
    }

    /// The same, with no more calls than this.
    #[must_use]
    pub fn limited(mut self, rates: RateLimits) -> Self {
        self.caller.rates = CallRates::new(rates);
        self
    }
}

#[tonic::async_trait]
impl<I: Invoker> InvokeService for InvokeApi<I> {
    async fn invoke(&self, request: Request<InvokeRequest>) -> Result<Response<InvokeResponse>, Status> {
        let (arrival, who) = (Arrival::of(&request), Identity::of(request.extensions()));
        let (headers, _, mut request) = request.into_parts();
        traces::adopt(&headers, &mut request.metadata);
        let answer = self.caller.call(request, arrival, &who).await;
        answer.map(Response::new).map_err(CallError::into_status)
    }

    type InvokeStreamStream = Pin<Box<dyn Stream<Item = Result<InvokeStreamResponse, Status>> + Send>>;

    async fn invoke_stream(
        &self,
        request: Request<Streaming<InvokeStreamRequest>>,
    ) -> Result<Response<Self::InvokeStreamStream>, Status> {
        let (opened, who) = (Arrival::of(&request), Identity::of(request.extensions()));
        let (answers, stream) = mpsc::channel(limits::STREAM_CHANNEL);
        let calls = CallStream::new(self.caller.clone(), who, opened, answers);
        let retired = retired(&request);
        tokio::spawn(calls.run(request.into_inner(), retired, self.closing.clone()));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    type BroadcastStream = Answers;

    async fn broadcast(&self, request: Request<BroadcastRequest>) -> Result<Response<Answers>, Status> {
        let (arrival, who) = (Arrival::of(&request), Identity::of(request.extensions()));
        let (headers, _, mut request) = request.into_parts();
        traces::adopt(&headers, &mut request.metadata);
        let answers = self.caller.broadcast(request, arrival, &who, self.closing.clone()).await;
        answers.map(Response::new).map_err(CallError::into_status)
    }
}

/// Makes calls out of requests and answers out of replies.
#[derive(Clone)]
pub(super) struct Caller<I> {
    invoker: I,
    calls: CallLimits,
    rates: CallRates,
    accounts: CallAccounts,
    traces: Traces,
    cluster_id: Arc<OnceLock<String>>,
}

impl<I: Invoker> Caller<I> {
    pub(super) async fn call(
        &self,
        request: InvokeRequest,
        arrival: Arrival,
        who: &Identity,
    ) -> Result<InvokeResponse, CallError> {
        let limits = self.limits(&request.namespace, &request.group);
        let mut call = validate::call(request, arrival, &limits).map_err(CallError::Invalid)?;
        permit(who, &call)?;
        let mut in_flight = InFlight::default();
        self.rates.begin(who, &call.namespace, &call.group, &mut in_flight)?;
        let trace = self.begin(&mut call);
        let facts = CallFacts::of(&call);
        let result = self.invoker.invoke(call).await;
        self.account(&facts, &result, trace.as_ref());
        let reply = result.map_err(|failure| seen_by(who, failure))?;
        Ok(self.response(reply, facts.request_id))
    }

    /// A call has ended.
    pub(super) fn account(
        &self,
        call: &CallFacts,
        result: &Result<Reply, Failure>,
        trace: Option<&CallTrace>,
    ) {
        if let Some(trace) = trace {
            self.traces.end(trace, call, result);
        }
        let device_id = match result {
            Ok(reply) => Some(reply.device_id.as_str()),
            Err(failure) => failure.device_id.as_deref(),
        };
        self.accounts.ended(&EndedCall {
            group: &call.group,
            action: &call.action,
            request_id: &call.request_id,
            elapsed: call.arrived.elapsed(),
            device_id,
            failure: result.as_ref().err(),
        });
    }

    async fn broadcast(
        &self,
        request: BroadcastRequest,
        arrival: Arrival,
        who: &Identity,
        closing: CancellationToken,
    ) -> Result<Answers, CallError> {
        let limits = self.limits(&request.namespace, &request.group);
        let mut broadcast = validate::broadcast(request, arrival, &limits).map_err(CallError::Invalid)?;
        let group = Some(broadcast.group.as_str()).filter(|group| !group.is_empty());
        if !who.may_invoke(&broadcast.namespace, group, &broadcast.action) {
            return Err(not_permitted(who, &broadcast.group, &broadcast.action).into());
        }
        let mut in_flight = InFlight::default();
        self.rates.begin(who, &broadcast.namespace, &broadcast.group, &mut in_flight)?;
        let request_id = String::from(broadcast.request_id.as_str());
        let facts = CallFacts::of_broadcast(&broadcast);
        let mut trace = self.traces.begin_broadcast(&mut broadcast.metadata, facts);
        let started = self.invoker.broadcast(broadcast).await.inspect_err(|failure| {
            if let Some(trace) = &mut trace {
                trace.failed(failure);
            }
        })?;
        let answers = Answers::new(started, request_id, self.cluster_id(), closing);
        Ok(answers.counted(in_flight).traced(trace))
    }

    /// See [`Invoker::calls`].
    pub(super) fn calls(&self) -> Box<dyn Calls> {
        self.invoker.calls()
    }

    /// Begins a call's trace, if it is recorded.
    fn begin(&self, call: &mut Call) -> Option<CallTrace> {
        self.traces.begin(&mut call.metadata, call.arrived.elapsed())
    }

    /// The call that a request asks for, counted as in flight through this door, and its trace if it is recorded.
    pub(super) fn check(
        &self,
        request: InvokeRequest,
        arrival: Arrival,
        who: &Identity,
        door: &mut InFlight,
    ) -> Result<(Call, Option<CallTrace>), Failure> {
        let limits = self.limits(&request.namespace, &request.group);
        let mut call = validate::call(request, arrival, &limits)?;
        permit(who, &call)?;
        self.rates.begin(who, &call.namespace, &call.group, door)?;
        let trace = self.begin(&mut call);
        Ok((call, trace))
    }

    /// How long a call to the group may take: by this node, and by what was said of the group.
    fn limits(&self, namespace: &str, group: &str) -> CallLimits {
        group_policies::within(self.invoker.group_policy(validate::namespace(namespace), group), &self.calls)
    }

    /// What the caller gets.
    pub(super) fn response(&self, reply: Reply, request_id: CompactString) -> InvokeResponse {
        response(reply, request_id.into(), self.cluster_id())
    }

    /// A cluster's id never changes once it is known.
    fn cluster_id(&self) -> String {
        if let Some(known) = self.cluster_id.get() {
            return known.clone();
        }
        match self.invoker.cluster_id() {
            Some(id) => self.cluster_id.get_or_init(|| id.to_string()).clone(),
            None => String::new(),
        }
    }
}

fn permit(who: &Identity, call: &Call) -> Result<(), Failure> {
    if who.may_invoke(&call.namespace, Some(&call.group), &call.action) {
        Ok(())
    } else {
        Err(not_permitted(who, &call.group, &call.action))
    }
}

/// The same whether there is such a group, action or device, or not.
fn not_permitted(who: &Identity, group: &str, action: &str) -> Failure {
    let what = format!("invoke {action} of {group}");
    audit::refused(&Refused { who: &who.name, from: None, what: &what, why: "not permitted" });
    Failure::not_executed(Reason::PermissionDenied, "this is not permitted")
}

/// What a caller learns of a failure: who may not call every group is not told whether a device that it named is another
/// group's, or nobody's.
pub(super) fn seen_by(who: &Identity, failure: Failure) -> Failure {
    let tells = matches!(failure.reason, Reason::NoDevice | Reason::DeviceDisabled);
    match &failure.device_id {
        Some(device) if tells && !who.may_everywhere(Verb::Invoke) => {
            let hidden = Failure::not_executed(Reason::NotConnected, "the device is not connected");
            hidden.on_device(device.clone())
        }
        _ => failure,
    }
}

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum CallError {
    /// The request is not as it must be.
    Invalid(validate::Invalid),
    /// The call failed.
    Failed(Box<Failure>),
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

impl CallError {
    fn into_status(self) -> Status {
        match self {
            Self::Invalid(invalid) => invalid.into(),
            Self::Failed(failure) => status::of_failure(&failure),
        }
    }
}

/// A reply as callers get it.
pub(super) fn response(reply: Reply, request_id: String, cluster_id: String) -> InvokeResponse {
    InvokeResponse {
        payload: reply.payload,
        content_type: reply.content_type,
        metadata: reply.metadata,
        device_id: reply.device_id.into(),
        epoch: reply.epoch.0,
        node: reply.node.into(),
        request_id,
        attempts: reply.attempts,
        index: reply.index.0,
        cluster_id,
        timings: Some(timings(&reply.timings)),
    }
}

fn timings(timings: &Timings) -> api::Timings {
    let part = |part: Option<std::time::Duration>| part.and_then(|part| part.try_into().ok());
    api::Timings {
        queue: part(timings.queue),
        forward: part(timings.forward),
        write: part(timings.write),
        device: part(timings.device),
        total: part(timings.total),
    }
}
