//! When a request came and when its caller gives up: taken once, before the body is read.
//!
//! tonic's own layer answers an expired `grpc-timeout` with CANCELLED. This one is inside of it, starts its clock first
//! and answers DEADLINE_EXCEEDED.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use rollcall_router::{Failure, Outcome, Reason};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::status::{self, Refusal};
use crate::{config::CallLimits, limits};

/// When a request came, and when its caller gives up.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When its headers were there.
    pub at: Instant,
    /// The gRPC deadline, if the caller set one.
    pub grpc_deadline: Option<Instant>,
}

impl Arrival {
    /// Now, with this much time on the gRPC deadline.
    pub fn now(grpc_timeout: Option<Duration>) -> Self {
        let at = Instant::now();
        Self { at, grpc_deadline: grpc_timeout.and_then(|timeout| at.checked_add(timeout)) }
    }

    /// The arrival that [`ArrivalLayer`] noted, or now.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get().copied().unwrap_or_else(|| Self::now(None))
    }

    /// When a call must have ended: the shortest of the gRPC deadline, `timeout` and the maximum; the default if the
    /// caller named neither.
    ///
    /// A gRPC deadline is kept a little early, so that the answer, which says where the time went, is read before the
    /// caller's own clock ends the call.
    pub fn deadline(&self, timeout: Option<Duration>, calls: &CallLimits) -> Instant {
        self.within(timeout, calls.default_timeout, calls.max_timeout)
    }

    /// The same, with another default and another maximum.
    pub fn within(&self, timeout: Option<Duration>, default: Duration, most: Duration) -> Instant {
        let by_grpc = self.grpc_deadline.map(|deadline| deadline.saturating_duration_since(self.at));
        let by_grpc = by_grpc.map(|budget| {
            budget.saturating_sub((budget / limits::DEADLINE_SLACK_SHARE).min(limits::DEADLINE_SLACK))
        });
        let asked = [by_grpc, timeout].into_iter().flatten().min();
        self.at + asked.unwrap_or(default).min(most)
    }
}

/// Notes the arrival of each request and keeps its gRPC deadline.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArrivalLayer;

impl<S> Layer<S> for ArrivalLayer {
    type Service = Arrivals<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Arrivals { inner }
    }
}

/// What [`ArrivalLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Arrivals<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Arrivals<S>
where
    S: Service<Request<B>, Response = Response<tonic::body::Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Arriving<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let timeout = request.headers().get("grpc-timeout").and_then(|value| grpc_timeout(value.as_bytes()));
        let arrival = Arrival::now(timeout);
        request.extensions_mut().insert(arrival);
        let sleep = arrival.grpc_deadline.map(tokio::time::sleep_until);
        Arriving { inner: self.inner.call(request), sleep }
    }
}

pin_project! {
    /// The answer to a request, or DEADLINE_EXCEEDED.
    pub struct Arriving<F> {
        #[pin]
        inner: F,
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl<F, E> Future for Arriving<F>
where
    F: Future<Output = Result<Response<tonic::body::Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answered) = this.inner.poll(cx) {
            return Poll::Ready(answered.map(|response| refused_by_transport(&response).unwrap_or(response)));
        }
        if let Some(sleep) = this.sleep.as_pin_mut()
            && sleep.poll(cx).is_ready()
        {
            let failure = Failure::new(Reason::Deadline, Outcome::Unknown, "the deadline passed");
            return Poll::Ready(Ok(status::of_failure(&failure).into_http()));
        }
        Poll::Pending
    }
}

/// A better answer where tonic refused a message by itself: too large, or not to be decoded.
fn refused_by_transport(response: &Response<tonic::body::Body>) -> Option<Response<tonic::body::Body>> {
    let headers = response.headers();
    if !headers.contains_key("grpc-status") || headers.contains_key("grpc-status-details-bin") {
        return None;
    }
    let status = Status::from_header_map(headers)?;
    match status.code() {
        Code::OutOfRange | Code::Internal => Some(Status::from(Refusal::of_transport(&status)).into_http()),
        _ => None,
    }
}

/// The time of a `grpc-timeout` header: up to eight digits and a unit. `None` for anything else, as if it were absent.
///
/// See <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>.
fn grpc_timeout(header: &[u8]) -> Option<Duration> {
    let (unit, digits) = header.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> CallLimits {
        CallLimits {
            default_timeout: Duration::from_secs(30),
            max_timeout: Duration::from_secs(300),
            max_payload_bytes: 1024,
        }
    }

    fn budget(grpc: Option<u64>, timeout: Option<u64>) -> Duration {
        let arrival = Arrival::now(grpc.map(Duration::from_secs));
        arrival.deadline(timeout.map(Duration::from_secs), &limits()) - arrival.at
    }

    #[test]
    fn the_shortest_of_grpc_deadline_timeout_and_maximum_counts() {
        assert_eq!(budget(None, None), Duration::from_secs(30));
        assert_eq!(budget(None, Some(5)), Duration::from_secs(5));
        assert_eq!(budget(None, Some(60)), Duration::from_secs(60));
        assert_eq!(budget(None, Some(900)), Duration::from_secs(300));
        assert_eq!(budget(Some(60), Some(5)), Duration::from_secs(5));
        assert_eq!(budget(Some(60), None), Duration::from_secs(60) - limits::DEADLINE_SLACK);
        assert_eq!(budget(Some(9_000), None), Duration::from_secs(300));
        assert_eq!(budget(Some(0), None), Duration::ZERO);
    }

    #[test]
    fn a_short_grpc_deadline_loses_only_a_share() {
        let arrival = Arrival::now(Some(Duration::from_millis(100)));
        assert_eq!(arrival.deadline(None, &limits()) - arrival.at, Duration::from_millis(95));
    }

    #[test]
    fn a_grpc_timeout_is_read_by_the_protocol() {
        assert_eq!(grpc_timeout(b"5S"), Some(Duration::from_secs(5)));
        assert_eq!(grpc_timeout(b"100m"), Some(Duration::from_millis(100)));
        assert_eq!(grpc_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for odd in [&b""[..], b"S", b"5", b"5X", b"-5S", b"+5S", b"123456789S", b"\xff\xffS"] {
            assert_eq!(grpc_timeout(odd), None, "{odd:?}");
        }
    }
}
