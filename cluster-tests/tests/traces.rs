//! Traces of calls: from the caller over the gateway to the device, and to a collector.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use parking_lot::Mutex;
use rollcall_cluster_tests::{
    ClusterPlan, HEAL_PATIENCE, Lab, RawDevice, RawProfile, SPREAD_PATIENCE, call, refusal, wait_until,
};
use rollcall_proto::{
    api::BroadcastRequest,
    device::{Result as CallResult, attach_request::Frame as Up, attach_response::Frame as Down},
};
use tokio::{net::TcpListener, task::AbortHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

/// What a collector was told: spans, each with the name of the node that made it.
#[derive(Debug, Clone, Default)]
struct Collector {
    spans: std::sync::Arc<Mutex<Vec<(String, Span)>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of_node in request.into_inner().resource_spans {
            let resource = of_node.resource.unwrap_or_default();
            let node = text(resource.attributes.iter().find(|one| one.key == "service.instance.id"));
            let spans = of_node.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().extend(spans.map(|span| (node.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> anyhow::Result<(Self, SocketAddr, AbortHandle)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (collector, addr) = (Self::default(), listener.local_addr()?);
        let server = Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        let serving = tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Ok((collector, addr, serving.abort_handle()))
    }

    /// The span of this name in a trace, once it is here.
    async fn span(&self, trace: &str, name: &str) -> anyhow::Result<(String, Span)> {
        wait_until(&format!("the collector has `{name}` of {trace}"), HEAL_PATIENCE, async || {
            let spans = self.spans.lock();
            let found = spans.iter().find(|(_, span)| hex(&span.trace_id) == trace && span.name == name);
            found.cloned().with_context(|| format!("it has {} others", spans.len()))
        })
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attribute: Option<&opentelemetry_proto::tonic::common::v1::KeyValue>) -> String {
    match attribute.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    span.attributes.iter().map(|attribute| (attribute.key.clone(), text(Some(attribute)))).collect()
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLERS_SPAN}-{flags}")
}

/// The device's side: answers one call, and says what it was told of the trace. The device stays: whoever leaves may take
/// the answer with it.
async fn answer(mut device: RawDevice) -> anyhow::Result<(String, RawDevice)> {
    loop {
        let (slot, frame) = device.hear_within(HEAL_PATIENCE).await?.context("the stream has ended")?;
        if let Down::Call(call) = frame {
            let result =
                CallResult { tag: call.tag, token: call.token, epoch: call.epoch, ..Default::default() };
            device.say(slot, Up::Result(Box::new(result))).await?;
            return Ok((call.metadata.get("traceparent").cloned().unwrap_or_default(), device));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_is_one_span_that_its_devices_are_told() -> anyhow::Result<()> {
    let (collector, addr, _serving) = Collector::start().await?;
    let endpoint = format!("http://{addr}");
    let cluster =
        ClusterPlan::of(1).flag("otlp-endpoint", &endpoint).flag("trace-sample", "0").start().await?;
    let node = cluster.node("n1")?;
    let mut told = Vec::new();
    for device in ["one", "two"] {
        let (device, _) = RawDevice::attached(&node.device_url(), &RawProfile::new(device, "crowd")).await?;
        told.push(tokio::spawn(answer(device)));
    }
    let wanted = |group: &str, trace: &str| {
        let ask = BroadcastRequest { group: group.into(), action: "echo".into(), ..Default::default() };
        let mut request = Request::new(ask);
        let parent = format!("00-{trace}-{CALLERS_SPAN}-01");
        request.metadata_mut().insert("traceparent", parent.parse()?);
        anyhow::Ok(request)
    };
    let mut answers = node.api()?.invoke.broadcast(wanted("crowd", TRACE)?).await?.into_inner();
    while answers.message().await?.is_some() {}
    let (_, whole) = collector.span(TRACE, "rollcall broadcast").await?;
    ensure!(hex(&whole.parent_span_id) == CALLERS_SPAN && whole.kind() == SpanKind::Server, "{whole:?}");
    let count = |key: &str| {
        whole.attributes.iter().find(|one| one.key == key).and_then(|one| one.value.clone()?.value)
    };
    ensure!(count("rollcall.targets") == Some(Value::IntValue(2)), "{whole:?}");
    ensure!(count("rollcall.answered") == Some(Value::IntValue(2)), "{whole:?}");
    for told in told {
        let (told, _device) = told.await??;
        ensure!(told == format!("00-{TRACE}-{}-01", hex(&whole.span_id)), "a device was told {told}");
    }
    // A caller who leaves in the middle has a span too.
    let (silent, _) = RawDevice::attached(&node.device_url(), &RawProfile::new("silent", "silent")).await?;
    let left = format!("{:032x}", 9);
    let mut answers = node.api()?.invoke.broadcast(wanted("silent", &left)?).await?.into_inner();
    answers.message().await?.context("its start")?;
    drop(answers);
    let (_, whole) = collector.span(&left, "rollcall broadcast").await?;
    ensure!(attributes(&whole)["error.type"] == "CANCELLED", "{whole:?}");
    drop(silent);
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_one_trace_from_its_caller_to_the_device() -> anyhow::Result<()> {
    let (collector, addr, _serving) = Collector::start().await?;
    let endpoint = format!("http://{addr}");
    let cluster =
        ClusterPlan::of(3).flag("otlp-endpoint", &endpoint).flag("trace-sample", "0").start().await?;
    let (entry, holder) = (cluster.node("n1")?, cluster.node("n2")?);
    let (device, _) = RawDevice::attached(&holder.device_url(), &RawProfile::new("traced", "traced")).await?;
    cluster.caught_up(SPREAD_PATIENCE).await?;

    let told = tokio::spawn(answer(device));
    let mut request = Request::new(call("traced", "echo"));
    request.metadata_mut().insert("traceparent", traceparent("01").parse()?);
    entry.api()?.invoke.invoke(request).await?;
    let (told, _device) = told.await??;

    let (by, whole) = collector.span(TRACE, "rollcall call").await?;
    ensure!(by == "n1" && hex(&whole.parent_span_id) == CALLERS_SPAN, "{by}: {whole:?}");
    ensure!(
        whole.kind() == SpanKind::Server && attributes(&whole)["rollcall.group"] == "traced",
        "{whole:?}"
    );
    let (_, hop) = collector.span(TRACE, "rollcall deliver").await?;
    ensure!(hop.parent_span_id == whole.span_id && attributes(&hop)["rollcall.node"] == "n2", "{hop:?}");
    ensure!(told == format!("00-{TRACE}-{}-01", hex(&hop.span_id)), "the device was told {told}");

    // A call that fails says why; one that its caller does not record is not recorded.
    let mut failing = Request::new(call("nobody", "echo"));
    failing.metadata_mut().insert("traceparent", format!("00-{:032x}-{CALLERS_SPAN}-01", 7).parse()?);
    let reason = refusal(entry.api()?.invoke.invoke(failing).await)?.reason;
    let (_, failed) = collector.span(&format!("{:032x}", 7), "rollcall call").await?;
    ensure!(attributes(&failed)["error.type"] == reason, "{failed:?}");
    let recorded = collector.spans.lock().len();
    ensure!(recorded == 3, "{recorded} spans, though only two calls were to be recorded");
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_costs_no_call() -> anyhow::Result<()> {
    let (_, addr, serving) = Collector::start().await?;
    serving.abort();
    let endpoint = format!("http://{addr}");
    let cluster =
        ClusterPlan::of(1).flag("otlp-endpoint", &endpoint).flag("trace-sample", "1").start().await?;
    let node = cluster.node("n1")?;
    let device = Lab::new("here", "there").attach(&[node.device_url()]).await?;
    for _ in 0..20 {
        node.api()?.call(call("there", "echo")).await?;
    }
    wait_until("what was dropped is counted", HEAL_PATIENCE, async || {
        let (_, page) = node.get("/metrics").await?;
        let dropped = page.lines().find_map(|line| line.strip_prefix("rollcall_traces_dropped_total "));
        let dropped: f64 = dropped.context("no such metric")?.parse()?;
        ensure!(dropped >= 2.0, "{dropped}");
        Ok(())
    })
    .await?;
    drop(device);
    cluster.finish().await
}
