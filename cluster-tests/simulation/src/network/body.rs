//! The body of a request or an answer, as its parts come in.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{core::Part, line::Held};

/// A body that comes in parts.
pub(super) struct Parts {
    pub(super) parts: UnboundedReceiver<Part>,
    /// Given up when the body is.
    pub(super) held: Option<Held>,
}

/// Why a body broke off.
#[derive(Debug)]
pub(super) struct Broken(pub(super) &'static str);

impl std::fmt::Display for Broken {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl Body for Parts {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.parts.poll_recv(context).map(|part| match part {
            Some(Part::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Part::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Part::End) => {
                if let Some(held) = &mut self.held {
                    held.is_over();
                }
                None
            }
            Some(Part::Reset(why)) => Some(Err(Broken(why))),
            Some(Part::Head(_)) => Some(Err(Broken("a second answer"))),
            None => Some(Err(Broken("the stream is gone"))),
        })
    }
}
