//! What is said of a call: its span and its hop's, with OpenTelemetry's names where there are any.

use std::{borrow::Cow, time::Duration};

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use rollcall_router::{CallFacts, Failure, Reply};

use super::CallTrace;

/// The spans of a call that has ended: one, and a second if it got as far as a device.
pub(super) fn of(
    trace: &CallTrace,
    call: &CallFacts,
    result: &Result<Reply, Failure>,
) -> impl Iterator<Item = SpanData> {
    let own = vec![
        KeyValue::new("rpc.system", "grpc"),
        KeyValue::new("rollcall.group", call.group.to_string()),
        KeyValue::new("rollcall.action", call.action.to_string()),
        KeyValue::new("rollcall.request_id", call.request_id.to_string()),
    ];
    let whole =
        Part { name: "rollcall call", kind: SpanKind::Server, span: trace.call.span, parent: trace.parent };
    let took = call.arrived.elapsed();
    let whole = whole.span(trace, took, [own, of_end(result)].concat(), result);
    let place = place(result).map(|attributes| {
        let hop = Part {
            name: "rollcall deliver",
            kind: SpanKind::Client,
            span: trace.hop,
            parent: Some(trace.call.span),
        };
        hop.span(trace, took, attributes, result)
    });
    std::iter::once(whole).chain(place)
}

struct Part {
    name: &'static str,
    kind: SpanKind,
    span: SpanId,
    parent: Option<SpanId>,
}

impl Part {
    fn span(
        self,
        trace: &CallTrace,
        took: Duration,
        attributes: Vec<KeyValue>,
        result: &Result<Reply, Failure>,
    ) -> SpanData {
        let (context, state) = (trace.call, TraceState::NONE);
        SpanData {
            span_context: SpanContext::new(context.trace, self.span, context.flags(), false, state),
            parent_span_id: self.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: self.kind == SpanKind::Server && self.parent.is_some(),
            span_kind: self.kind,
            name: Cow::Borrowed(self.name),
            start_time: trace.began,
            end_time: trace.began + took,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: match result {
                Ok(_) => Status::Unset,
                Err(failure) => Status::error(failure.message.clone()),
            },
            instrumentation_scope: InstrumentationScope::builder("rollcall").build(),
        }
    }
}

/// How it ended.
fn of_end(result: &Result<Reply, Failure>) -> Vec<KeyValue> {
    match result {
        Ok(reply) => vec![KeyValue::new("rollcall.attempts", i64::from(reply.attempts))],
        Err(failure) => vec![
            KeyValue::new("error.type", failure.reason.as_str()),
            KeyValue::new("rollcall.outcome", failure.outcome.as_str()),
            KeyValue::new("rollcall.fault", failure.reason.fault().as_str()),
        ],
    }
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
