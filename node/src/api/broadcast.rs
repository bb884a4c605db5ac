//! One `Broadcast` as its caller sees it: the start, a result for each device, the summary.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::Stream;
use rollcall_proto::api::{
    BroadcastResponse, BroadcastResult, BroadcastStart, BroadcastSummary, broadcast_response::Kind,
    broadcast_result,
};
use rollcall_router::{BroadcastEvent, Failure, Outcome, Reason, Started, Summary};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use super::{invoke_service, rates::InFlight, status};
use crate::telemetry::traces::BroadcastTrace;

/// The answers to one broadcast. Dropped before its end, it stops what is not sent.
pub struct Answers {
    start: Option<BroadcastStart>,
    events: mpsc::Receiver<BroadcastEvent>,
    request_id: String,
    cluster_id: String,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
    /// It counts as its caller's until it is over, or this is dropped.
    in_flight: InFlight,
    /// If it is recorded, until it is over.
    trace: Option<BroadcastTrace>,
}

impl Answers {
    pub(super) fn new(
        started: Started,
        request_id: String,
        cluster_id: String,
        closing: CancellationToken,
    ) -> Self {
        let start = BroadcastStart {
            targets: started.targets.into(),
            index: started.index.0,
            cluster_id: cluster_id.clone(),
            request_id: request_id.clone(),
        };
        let closing = Box::pin(closing.cancelled_owned());
        Self {
            start: Some(start),
            events: started.events,
            request_id,
            cluster_id,
            closing,
            over: false,
            in_flight: InFlight::default(),
            trace: None,
        }
    }

    /// The same, which counts as in flight.
    pub(super) fn counted(self, in_flight: InFlight) -> Self {
        Self { in_flight, ..self }
    }

    /// The same, which is recorded.
    pub(super) fn traced(self, trace: Option<BroadcastTrace>) -> Self {
        Self { trace, ..self }
    }

    fn answer(&mut self, event: BroadcastEvent) -> Kind {
        match event {
            BroadcastEvent::Result { device_id, result } => {
                let result = match result {
                    Ok(reply) => {
                        let (request_id, cluster_id) = (self.request_id.clone(), self.cluster_id.clone());
                        let response = invoke_service::response(reply, request_id, cluster_id);
                        broadcast_result::Result::Response(response)
                    }
                    Err(failure) => broadcast_result::Result::Failure(status::to_proto(failure)),
                };
                Kind::Result(BroadcastResult { device_id: device_id.into(), result: Some(result) })
            }
            BroadcastEvent::Summary(done) => {
                if let Some(mut trace) = self.trace.take() {
                    trace.summed_up(&done);
                }
                self.over();
                Kind::Summary(summary(done))
            }
        }
    }
}

impl Stream for Answers {
    type Item = Result<BroadcastResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(start) = self.start.take() {
            return Poll::Ready(Some(Ok(BroadcastResponse { kind: Some(Kind::Start(start)) })));
        }
        if self.over {
            return Poll::Ready(None);
        }
        match self.events.poll_recv(cx) {
            Poll::Ready(Some(event)) => {
                let kind = Some(self.answer(event));
                Poll::Ready(Some(Ok(BroadcastResponse { kind })))
            }
            // The router ends it by the summary alone, unless the whole node ends.
            Poll::Ready(None) => Poll::Ready(Some(Err(self.stopped()))),
            Poll::Pending if self.closing.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Err(self.stopped())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Answers {
    fn over(&mut self) {
        self.over = true;
        self.in_flight.ended();
    }

    /// Some devices have executed it, so that nobody may take the whole for not executed.
    fn stopped(&mut self) -> Status {
        self.over();
        let message = "the node stops; devices without a result may have executed the call";
        let failure = Failure::new(Reason::ShuttingDown, Outcome::Unknown, message);
        if let Some(mut trace) = self.trace.take() {
            trace.failed(&failure);
        }
        status::of_failure(&failure)
    }
}

fn summary(done: Summary) -> BroadcastSummary {
    let [not_executed, unknown, executed] = done.failed;
    let reasons = done.reasons.into_iter();
    BroadcastSummary {
        targets: done.targets,
        answered: done.answered,
        not_executed,
        unknown,
        executed,
        reasons: reasons.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        total: done.total.try_into().ok(),
    }
}
