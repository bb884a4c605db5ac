//! Counts and times every RPC of a listener by go-grpc-middleware's names.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use metrics::{Counter, Histogram, counter, histogram};
use pin_project_lite::pin_project;
use prost::Message;
use prost_types::FileDescriptorSet;
use tower::{Layer, Service};

use super::metric_names::{GRPC_HANDLED, GRPC_SECONDS, GRPC_STARTED};

/// The gRPC codes by number, as go-grpc-middleware spells them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const OK: usize = 0;
const CANCELED: usize = 1;
const UNKNOWN: usize = 2;

/// Handles of one method's metrics; made once, because looking one up costs ten times its use.
struct Method {
    started: Counter,
    handled: [Counter; CODES.len()],
    seconds: Histogram,
}

impl Method {
    fn new(kind: &'static str, service: &str, method: &str) -> Self {
        let labels = [
            ("grpc_type", kind.to_owned()),
            ("grpc_service", service.to_owned()),
            ("grpc_method", method.to_owned()),
        ];
        let started = counter!(GRPC_STARTED, &labels);
        started.absolute(0);
        let handled = CODES.map(|code| {
            let [kind, service, method] = labels.clone();
            let handled = counter!(GRPC_HANDLED, &[kind, service, method, ("grpc_code", code.to_owned())]);
            handled.absolute(0);
            handled
        });
        Self { started, handled, seconds: histogram!(GRPC_SECONDS, &labels) }
    }
}

/// Counts and times RPCs. Paths that no known service has count as `other`, so that callers cannot make series.
#[derive(Clone)]
pub struct GrpcMetricsLayer {
    methods: Arc<Methods>,
}

struct Methods {
    by_path: HashMap<String, Arc<Method>>,
    other: Arc<Method>,
}

impl GrpcMetricsLayer {
    /// Knows the methods of these services, by their descriptors. Install the recorder first.
    pub fn new(descriptors: &[u8], services: &[&str]) -> Self {
        // The descriptors are our own, compiled in; without them everything would count as `other`.
        let descriptors = FileDescriptorSet::decode(descriptors).unwrap_or_default();
        let mut by_path = HashMap::new();
        for file in &descriptors.file {
            for service in &file.service {
                let name = format!("{}.{}", file.package(), service.name());
                if !services.contains(&name.as_str()) {
                    continue;
                }
                for method in &service.method {
                    let kind = kind(method.client_streaming(), method.server_streaming());
                    let metrics = Arc::new(Method::new(kind, &name, method.name()));
                    by_path.insert(format!("/{name}/{}", method.name()), metrics);
                }
            }
        }
        let other = Arc::new(Method::new("unary", "other", "other"));
        Self { methods: Arc::new(Methods { by_path, other }) }
    }
}

fn kind(client_streams: bool, server_streams: bool) -> &'static str {
    match (client_streams, server_streams) {
        (false, false) => "unary",
        (true, false) => "client_stream",
        (false, true) => "server_stream",
        (true, true) => "bidi_stream",
    }
}

impl<S> Layer<S> for GrpcMetricsLayer {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Metered { inner, methods: Arc::clone(&self.methods) }
    }
}

/// What [`GrpcMetricsLayer`] makes of a service.
#[derive(Clone)]
pub struct Metered<S> {
    inner: S,
    methods: Arc<Methods>,
}

impl<S, B, A> Service<Request<B>> for Metered<S>
where
    S: Service<Request<B>, Response = Response<A>>,
{
    type Response = Response<MeteredBody<A>>;
    type Error = S::Error;
    type Future = Metering<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = self.methods.by_path.get(request.uri().path()).unwrap_or(&self.methods.other);
        let meter = Meter::start(Arc::clone(method));
        Metering { inner: self.inner.call(request), meter: Some(meter) }
    }
}

/// One RPC; counts as cancelled if it is dropped before its status is known.
struct Meter {
    method: Arc<Method>,
    started: Instant,
    ended: bool,
}

impl Meter {
    fn start(method: Arc<Method>) -> Self {
        method.started.increment(1);
        Self { method, started: Instant::now(), ended: false }
    }

    fn end(&mut self, code: usize) {
        if self.ended {
            return;
        }
        self.ended = true;
        self.method.handled[code].increment(1);
        self.method.seconds.record(self.started.elapsed());
    }

    /// Ends with the status among these headers, if there is one.
    fn end_by(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            let code = status.to_str().ok().and_then(|text| text.parse().ok());
            self.end(code.filter(|code| *code < CODES.len()).unwrap_or(UNKNOWN));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.end(CANCELED);
    }
}

pin_project! {
    /// An RPC before its response.
    pub struct Metering<F> {
        #[pin]
        inner: F,
        meter: Option<Meter>,
    }
}

impl<F, A, E> Future for Metering<F>
where
    F: Future<Output = Result<Response<A>, E>>,
{
    type Output = Result<Response<MeteredBody<A>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.inner.poll(cx).map_ok(|response| {
            let mut meter = this.meter.take();
            if let Some(meter) = &mut meter {
                meter.end_by(response.headers());
            }
            response.map(|inner| MeteredBody { inner, meter })
        })
    }
}

pin_project! {
    /// A response's body, until its trailers say how the RPC ended.
    pub struct MeteredBody<A> {
        #[pin]
        inner: A,
        meter: Option<Meter>,
    }
}

impl<A: Body<Data = Bytes>> Body for MeteredBody<A> {
    type Data = Bytes;
    type Error = A::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(cx);
        if let Poll::Ready(frame) = &polled
            && let Some(meter) = this.meter
        {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_ref() {
                        meter.end_by(trailers);
                    }
                }
                Some(Err(_)) => meter.end(UNKNOWN),
                None => meter.end(OK),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}
