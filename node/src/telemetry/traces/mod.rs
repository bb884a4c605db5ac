//! Traces of calls, by OpenTelemetry: one span for each call, and one for its hop to the device.
//!
//! Both are made where the call entered: the reply says which node held the device and where the time went, so that
//! nothing of traces travels between nodes. The device gets the hop's span as `traceparent` of the call's metadata.
//! A broadcast is one span, whatever it reaches, and that is what its devices get.

mod broadcast;
mod context;
mod export;
mod spans;

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use opentelemetry::SpanId;
use opentelemetry_sdk::trace::SpanData;
use rollcall_router::{CallFacts, Failure, Reply};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;

pub use broadcast::BroadcastTrace;
pub use context::{TRACEPARENT, TRACESTATE, TraceContext};
pub use export::{Exporting, TraceError, start};

use super::metric_names::TRACES_DROPPED;

/// What is exported, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSettings {
    /// Where a collector takes OTLP over gRPC.
    pub endpoint: String,
    /// Of the calls whose caller says nothing of traces, this share is recorded: 0 to 1.
    pub sample: f64,
}

/// Records calls. Cheap to clone; by default it records none.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    recording: Option<Recording>,
}

#[derive(Debug, Clone)]
struct Recording {
    sample: f64,
    spans: mpsc::Sender<SpanData>,
}

/// A call that is recorded, from its arrival to its end.
#[derive(Debug, Clone)]
pub struct CallTrace {
    /// The caller's span. `None`: the trace begins here.
    parent: Option<SpanId>,
    /// The call's own.
    call: TraceContext,
    /// Its hop's.
    hop: SpanId,
    began: SystemTime,
}

impl Traces {
    /// Begins a call that arrived so long ago. If it is recorded, its metadata leads the device to it.
    pub fn begin(&self, metadata: &mut HashMap<String, String>, since: Duration) -> Option<CallTrace> {
        let (parent, call) = self.recording.as_ref()?.span(metadata)?;
        let hop = new_span();
        metadata.insert(TRACEPARENT.to_owned(), TraceContext { span: hop, ..call }.to_string());
        Some(CallTrace { parent, call, hop, began: ago(since) })
    }

    /// Begins a broadcast that arrived so long ago. If it is recorded, its metadata leads its devices to it.
    pub fn begin_broadcast(
        &self,
        metadata: &mut HashMap<String, String>,
        call: CallFacts,
    ) -> Option<BroadcastTrace> {
        let recording = self.recording.as_ref()?;
        let (parent, span) = recording.span(metadata)?;
        metadata.insert(TRACEPARENT.to_owned(), span.to_string());
        Some(BroadcastTrace::new(recording.clone(), parent, span, call))
    }

    /// A call has ended. Never waits: what the exporter has no room for is dropped and counted.
    pub fn end(&self, trace: &CallTrace, call: &CallFacts, result: &Result<Reply, Failure>) {
        let Some(recording) = &self.recording else { return };
        spans::of(trace, call, result).for_each(|span| recording.export(span));
    }
}

impl Recording {
    /// A new span under its caller's, if that is known. `None`: it is not recorded.
    fn span(&self, metadata: &HashMap<String, String>) -> Option<(Option<SpanId>, TraceContext)> {
        let caller = metadata.get(TRACEPARENT).and_then(|text| TraceContext::parse(text));
        let is_sampled =
            caller.map_or_else(|| rand::random::<f64>() < self.sample, |caller| caller.is_sampled);
        let trace = caller.map_or_else(|| rand::random::<u128>().max(1).into(), |caller| caller.trace);
        let span = TraceContext { trace, span: new_span(), is_sampled };
        is_sampled.then_some((caller.map(|caller| caller.span), span))
    }

    fn export(&self, span: SpanData) {
        if self.spans.try_send(span).is_err() {
            metrics::counter!(TRACES_DROPPED).increment(1);
        }
    }
}

fn new_span() -> SpanId {
    SpanId::from(rand::random::<u64>().max(1))
}

fn ago(since: Duration) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(since).unwrap_or(now)
}

/// Takes the trace of gRPC's headers into a call's metadata, unless that says one by itself.
pub fn adopt(headers: &MetadataMap, metadata: &mut HashMap<String, String>) {
    if metadata.contains_key(TRACEPARENT) {
        return;
    }
    let header = |key: &str| headers.get(key)?.to_str().ok().map(str::to_owned);
    let Some(parent) = header(TRACEPARENT).filter(|text| TraceContext::parse(text).is_some()) else { return };
    metadata.insert(TRACEPARENT.to_owned(), parent);
    if let Some(state) = header(TRACESTATE) {
        metadata.insert(TRACESTATE.to_owned(), state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn recording(sample: f64) -> (Traces, mpsc::Receiver<SpanData>) {
        let (spans, receiver) = mpsc::channel(4);
        (Traces { recording: Some(Recording { sample, spans }) }, receiver)
    }

    fn metadata(parent: &str) -> HashMap<String, String> {
        HashMap::from([(TRACEPARENT.to_owned(), parent.to_owned())])
    }

    #[test]
    fn a_callers_trace_goes_on_under_a_span_of_the_gateway() {
        let (traces, _receiver) = recording(0.0);
        let mut told = metadata(PARENT);
        let trace = traces.begin(&mut told, Duration::ZERO).expect("its caller records it");
        let parent = TraceContext::parse(PARENT).expect("it is one");
        assert_eq!((trace.call.trace, trace.parent), (parent.trace, Some(parent.span)));
        let device = TraceContext::parse(&told[TRACEPARENT]).expect("the device is told");
        assert_eq!((device.trace, device.span, device.is_sampled), (parent.trace, trace.hop, true));
    }

    #[test]
    fn a_caller_who_does_not_record_is_passed_on_as_he_is() {
        let (traces, _receiver) = recording(1.0);
        let parent = PARENT.replace("-01", "-00");
        let mut told = metadata(&parent);
        assert!(traces.begin(&mut told, Duration::ZERO).is_none());
        assert_eq!(told[TRACEPARENT], parent);
        let mut off = metadata(PARENT);
        assert!(Traces::default().begin(&mut off, Duration::ZERO).is_none());
        assert_eq!(off[TRACEPARENT], PARENT, "a gateway that records nothing passes it on");
    }

    #[test]
    fn of_calls_without_a_trace_a_share_is_recorded() {
        let mut untold = HashMap::new();
        assert!(recording(0.0).0.begin(&mut untold, Duration::ZERO).is_none() && untold.is_empty());
        let trace = recording(1.0).0.begin(&mut untold, Duration::ZERO).expect("all are");
        assert!(trace.parent.is_none() && untold.contains_key(TRACEPARENT));
    }

    #[test]
    fn headers_count_where_the_call_itself_says_nothing() {
        let mut headers = MetadataMap::new();
        headers.insert(TRACEPARENT, PARENT.parse().expect("ASCII"));
        headers.insert(TRACESTATE, "vendor=1".parse().expect("ASCII"));
        let mut told = HashMap::new();
        adopt(&headers, &mut told);
        assert_eq!((told[TRACEPARENT].as_str(), told[TRACESTATE].as_str()), (PARENT, "vendor=1"));
        let mut own = metadata("its own");
        adopt(&headers, &mut own);
        assert_eq!(own, metadata("its own"));
        headers.insert(TRACEPARENT, "nonsense".parse().expect("ASCII"));
        let mut untold = HashMap::new();
        adopt(&headers, &mut untold);
        assert!(untold.is_empty());
    }
}
