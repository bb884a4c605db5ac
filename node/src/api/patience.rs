//! Requests that come too slowly are cut off, so that nobody keeps half a message, and the room for the rest of it, for as
//! long as it likes. Between the messages of a stream anybody may be silent.

use std::{
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use metrics::counter;
use pin_project_lite::pin_project;
use rollcall_router::{Outcome, Reason};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::{Code, Status};
use tower::{BoxError, Layer, Service};

use super::{reflection, status::Refusal};
use crate::{
    limits::{REQUEST_BYTES_PER_SECOND, REQUEST_PATIENCE},
    telemetry::metric_names::REQUESTS_TOO_SLOW,
};

/// Gives requests a time to come in.
#[derive(Debug, Clone, Copy, Default)]
pub struct PatienceLayer;

impl<S> Layer<S> for PatienceLayer {
    type Service = Patient<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Patient { inner }
    }
}

/// What [`PatienceLayer`] makes of a service.
#[derive(Debug, Clone)]
pub struct Patient<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Patient<S>
where
    S: Service<Request<Timely<B>>, Response = Response<tonic::body::Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let progress = if streams_requests(request.uri().path()) {
            Progress::of_messages()
        } else {
            Progress::of_one(Instant::now())
        };
        self.inner.call(request.map(|inner| Timely { inner, progress, timer: None }))
    }
}

/// Whether a caller may send messages for as long as it likes.
fn streams_requests(path: &str) -> bool {
    // A few: to compare them takes less than to hash the path.
    static PATHS: LazyLock<Vec<String>> = LazyLock::new(reflection::request_streams);
    PATHS.iter().any(|known| known == path)
}

pin_project! {
    /// The body of a request that has to come in time.
    pub struct Timely<B> {
        #[pin]
        inner: B,
        progress: Progress,
        timer: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> HttpBody for Timely<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                this.progress.received(data, Instant::now);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        // Only whoever has to be waited for costs a timer.
        let Some(until) = this.progress.due() else {
            *this.timer = None;
            return Poll::Pending;
        };
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= until {
                counter!(REQUESTS_TOO_SLOW).increment(1);
                return Poll::Ready(Some(Err(too_slow().into())));
            }
            timer.as_mut().reset(until);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn too_slow() -> Status {
    let words = "the request came too slowly to be waited for";
    let refusal = Refusal::new(Code::DeadlineExceeded, Reason::Deadline.as_str(), words);
    refusal.with("outcome", Outcome::NotExecuted.as_str()).into()
}

/// How much has come of what was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Of a request of one message: all of it counts, to its end.
    OfOne { begun: Instant, bytes: u64 },
    /// Of messages one after the other: none is begun, or one is.
    OfMessages { begun: Option<Instant>, bytes: u64, left: Left },
}

/// What is still to come of a message: its head (a flag and four bytes of length), then the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Head { have: usize, length: u32 },
    Rest(u64),
}

const HEAD_BYTES: usize = 5;
const NOTHING_YET: Left = Left::Head { have: 0, length: 0 };

impl Progress {
    fn of_one(begun: Instant) -> Self {
        Self::OfOne { begun, bytes: 0 }
    }

    fn of_messages() -> Self {
        Self::OfMessages { begun: None, bytes: 0, left: NOTHING_YET }
    }

    /// Some bytes have come. The clock is asked only where they leave a new message half done.
    fn received(&mut self, data: &[u8], now: impl FnOnce() -> Instant) {
        match self {
            Self::OfOne { bytes, .. } => *bytes += data.len() as u64,
            Self::OfMessages { begun, bytes, left } => {
                let mut data = data;
                while !data.is_empty() {
                    let (taken, done) = left.take(data);
                    *bytes += taken as u64;
                    data = &data[taken..];
                    if done {
                        (*begun, *bytes) = (None, 0);
                    }
                }
                if *bytes > 0 && begun.is_none() {
                    *begun = Some(now());
                }
            }
        }
    }

    /// Until when more has to come; `None`: nobody is waited for.
    fn due(&self) -> Option<Instant> {
        let (begun, bytes) = match *self {
            Self::OfOne { begun, bytes } => (begun, bytes),
            Self::OfMessages { begun, bytes, .. } => (begun?, bytes),
        };
        Some(begun + REQUEST_PATIENCE + Duration::from_millis(bytes * 1_000 / REQUEST_BYTES_PER_SECOND))
    }
}

impl Left {
    /// Takes of these bytes, of which there are some, what belongs to the message; whether that was the last of it.
    fn take(&mut self, data: &[u8]) -> (usize, bool) {
        let (taken, next) = match *self {
            Self::Head { mut have, mut length } => {
                let taken = data.len().min(HEAD_BYTES - have);
                for byte in &data[..taken] {
                    // The flag is shifted out by the length's four bytes.
                    length = length << 8 | u32::from(*byte);
                    have += 1;
                }
                let next =
                    if have < HEAD_BYTES { Self::Head { have, length } } else { Self::Rest(length.into()) };
                (taken, next)
            }
            Self::Rest(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                (taken, Self::Rest(left - taken as u64))
            }
        };
        let done = next == Self::Rest(0);
        *self = if done { NOTHING_YET } else { next };
        (taken, done)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;

    /// Parts that come with these pauses, and then nothing more.
    struct Parts {
        left: VecDeque<(Duration, Bytes)>,
        pause: Option<Pin<Box<Sleep>>>,
    }

    impl HttpBody for Parts {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let Some(pause) = self.left.front().map(|(pause, _)| *pause) else { return Poll::Pending };
            let timer = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            ready!(timer.as_mut().poll(cx));
            self.pause = None;
            let part = self.left.pop_front().map(|(_, part)| Ok(Frame::data(part)));
            Poll::Ready(part)
        }
    }

    /// How many parts were taken until the body was cut off, and after how long.
    async fn taken(progress: Progress, parts: &[(u64, usize)]) -> (usize, Duration) {
        let left =
            parts.iter().map(|(pause, bytes)| (Duration::from_secs(*pause), Bytes::from(vec![9; *bytes])));
        let inner = Parts { left: left.collect(), pause: None };
        let (mut body, begun, mut taken) = (Timely { inner, progress, timer: None }, Instant::now(), 0);
        loop {
            match body.frame().await {
                Some(Ok(_)) => taken += 1,
                Some(Err(error)) => {
                    let status = Status::from_error(error);
                    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
                    return (taken, begun.elapsed());
                }
                None => panic!("it has no end"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_nothing_more_is_cut_off() {
        let one = Progress::of_one(Instant::now());
        assert_eq!(taken(one, &[(1, 3)]).await, (1, REQUEST_PATIENCE));
        assert_eq!(taken(Progress::of_messages(), &[(60, 3)]).await, (1, Duration::from_secs(70)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_fast_enough_may_take_long() {
        let one = Progress::of_one(Instant::now());
        let enough = REQUEST_BYTES_PER_SECOND as usize;
        assert_eq!(taken(one, &[(1, enough); 100]).await.0, 100);
        let one = Progress::of_one(Instant::now());
        let too_slow = taken(one, &[(1, enough / 2); 100]).await.0;
        assert!((19..21).contains(&too_slow), "{too_slow} parts");
    }

    proptest! {
        /// However they are cut into parts.
        #[test]
        fn a_message_is_waited_for_exactly_while_it_is_half_there(
            lengths in prop::collection::vec(0..40_usize, 1..8), cut in 1..50_usize,
        ) {
            let mut wire = Vec::new();
            let mut ends = vec![0];
            for length in lengths {
                wire.push(0);
                wire.extend((length as u32).to_be_bytes());
                wire.extend(vec![7; length]);
                ends.push(wire.len());
            }
            let (mut progress, mut sent) = (Progress::of_messages(), 0);
            for part in wire.chunks(cut) {
                progress.received(part, Instant::now);
                sent += part.len();
                prop_assert_eq!(progress.due().is_none(), ends.contains(&sent), "after {} of {:?}", sent, &ends);
            }
        }
    }
}
