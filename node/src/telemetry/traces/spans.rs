//! What is said of a call: its span and its hop's, with OpenTelemetry's names where there are any.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use rollcall_router::{CallFacts, Failure, Reply};

use super::{CallTrace, TraceContext};

/// The spans of a call that has ended: one, and a second if it got as far as a device.
pub(super) fn of(
    trace: &CallTrace,
    call: &CallFacts,
    result: &Result<Reply, Failure>,
) -> impl Iterator<Item = SpanData> {
    let took = call.arrived.elapsed();
    let when = (trace.began, took);
    let whole = Part {
        name: "rollcall call",
        kind: SpanKind::Server,
        context: trace.call,
        parent: trace.parent,
        failed: result.as_ref().err(),
    };
    let whole = whole.span(when, [of_call(call), of_end(result)].concat());
    let place = place(result).map(|attributes| {
        let hop = Part {
            name: "rollcall deliver",
            kind: SpanKind::Client,
            context: TraceContext { span: trace.hop, ..trace.call },
            parent: Some(trace.call.span),
            failed: result.as_ref().err(),
        };
        hop.span(when, attributes)
    });
    std::iter::once(whole).chain(place)
}

/// What was asked for.
pub(super) fn of_call(call: &CallFacts) -> Vec<KeyValue> {
    vec![
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rollcall.group", call.group.to_string()),
        KeyValue::new("rollcall.action", call.action.to_string()),
        KeyValue::new("rollcall.request_id", call.request_id.to_string()),
    ]
}

/// One span of a trace.
pub(super) struct Part<'a> {
    pub(super) name: &'static str,
    pub(super) kind: SpanKind,
    pub(super) context: TraceContext,
    pub(super) parent: Option<SpanId>,
    pub(super) failed: Option<&'a Failure>,
}

impl Part<'_> {
    /// The span that began then and took so long.
    pub(super) fn span(self, (began, took): (SystemTime, Duration), attributes: Vec<KeyValue>) -> SpanData {
        let (context, state) = (self.context, TraceState::NONE);
        SpanData {
            span_context: SpanContext::new(context.trace, context.span, context.flags(), false, state),
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.kind == SpanKind::Server && self.parent.is_some(),
            span_kind: self.kind,
            name: Cow::Borrowed(self.name),
            start_time: began,
            end_time: began + took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: self.failed.map_or(Status::Unset, |failure| Status::error(failure.message.clone())),
            instrumentation_scope: InstrumentationScope::builder("rollcall").build(),
        }
    }
}

/// How it ended.
fn of_end(result: &Result<Reply, Failure>) -> Vec<KeyValue> {
    match result {
        Ok(reply) => vec![KeyValue::new("rollcall.attempts", i64::from(reply.attempts))],
        Err(failure) => of_failure(failure),
    }
}

/// How it failed.
pub(super) fn of_failure(failure: &Failure) -> Vec<KeyValue> {
    vec![
        KeyValue::new("error.type", failure.reason.as_str()),
        KeyValue::new("rollcall.outcome", failure.outcome.as_str()),
        KeyValue::new("rollcall.fault", failure.reason.fault().as_str()),
    ]
}

/// Where it was delivered, and where the time went there. `None`: no device was chosen.
fn place(result: &Result<Reply, Failure>) -> Option<Vec<KeyValue>> {
    let text = |key: &'static str, value: &str| KeyValue::new(key, value.to_owned());
    match result {
        Ok(reply) => {
            let mut place =
                vec![text("rollcall.node", &reply.node), text("rollcall.device_id", &reply.device_id)];
            let parts = [
                ("rollcall.queue_ms", reply.timings.queue),
                ("rollcall.forward_ms", reply.timings.forward),
                ("rollcall.write_ms", reply.timings.write),
                ("rollcall.device_ms", reply.timings.device),
            ];
            let milliseconds = |part: Duration| part.as_secs_f64() * 1_000.0;
            place.extend(
                parts.into_iter().filter_map(|(key, part)| Some(KeyValue::new(key, milliseconds(part?)))),
            );
            Some(place)
        }
        Err(failure) => {
            let device = failure.device_id.as_deref()?;
            let mut place = vec![text("rollcall.device_id", device)];
            place.extend(failure.node.as_deref().map(|node| text("rollcall.node", node)));
            place.extend(failure.stage.map(|stage| text("rollcall.stage", stage.as_str())));
            Some(place)
        }
    }
}
