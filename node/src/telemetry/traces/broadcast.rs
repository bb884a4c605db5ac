//! The one span of a broadcast: from its arrival to its summary, or to whatever ended it before.

use std::time::SystemTime;

use opentelemetry::{KeyValue, SpanId, trace::SpanKind};
use rollcall_router::{CallFacts, Failure, Outcome, Reason, Summary};

use super::{
    Recording, TraceContext, ago,
    spans::{Part, of_call, of_failure},
};

/// A broadcast that is recorded. Its span is exported when this is dropped; unless it was told an end, the caller has left.
#[derive(Debug)]
pub struct BroadcastTrace {
    recording: Recording,
    parent: Option<SpanId>,
    span: TraceContext,
    call: CallFacts,
    began: SystemTime,
    end: Option<Result<Vec<KeyValue>, Failure>>,
}

impl BroadcastTrace {
    pub(super) fn new(
        recording: Recording,
        parent: Option<SpanId>,
        span: TraceContext,
        call: CallFacts,
    ) -> Self {
        let began = ago(call.arrived.elapsed());
        Self { recording, parent, span, call, began, end: None }
    }

    /// All of its devices' calls have ended.
    pub fn summed_up(&mut self, summary: &Summary) {
        let count =
            |key: &'static str, count: u64| KeyValue::new(key, i64::try_from(count).unwrap_or(i64::MAX));
        let [not_executed, unknown, executed] = summary.failed;
        self.end = Some(Ok(vec![
            count("rollcall.targets", summary.targets),
            count("rollcall.answered", summary.answered),
            count("rollcall.not_executed", not_executed),
            count("rollcall.unknown", unknown),
            count("rollcall.executed", executed),
        ]));
    }

    /// It ended otherwise.
    pub fn failed(&mut self, failure: &Failure) {
        self.end = Some(Err(failure.clone()));
    }
}

impl Drop for BroadcastTrace {
    fn drop(&mut self) {
        let left = || Failure::new(Reason::Cancelled, Outcome::Unknown, "the caller has left");
        let end = self.end.take().unwrap_or_else(|| Err(left()));
        let part = Part {
            name: "rollcall broadcast",
            kind: SpanKind::Server,
            context: self.span,
            parent: self.parent,
            failed: end.as_ref().err(),
        };
        let how = end.as_ref().map_or_else(of_failure, Clone::clone);
        let span = part.span((self.began, self.call.arrived.elapsed()), [of_call(&self.call), how].concat());
        self.recording.export(span);
    }
}
