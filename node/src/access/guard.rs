//! An answer that lasts: it ends when its caller's credential does, or when what they may do has changed.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Status, body::Body};

use super::standing::Standing;

/// The body of such an answer.
pub(super) struct Guarded {
    inner: Body,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
    status: Option<Status>,
}

impl Guarded {
    /// Ends with `status` as soon as what the answer rests on no longer holds.
    pub(super) fn new(inner: Body, standing: Standing, status: Status) -> Self {
        Self { inner, over: Box::pin(standing.over()), status: Some(status) }
    }
}

impl HttpBody for Guarded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.status.is_none() {
            return Poll::Ready(None);
        }
        if self.over.as_mut().poll(cx).is_ready() {
            let mut trailers = HeaderMap::new();
            if let Some(status) = self.status.take() {
                status.add_header(&mut trailers)?;
            }
            // What it still does for the caller ends with it.
            self.inner = Body::empty();
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.status.is_none() || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
