//! The frames of a connection for its transport to write.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use rollcall_proto::device::AttachResponse;

use super::connection::Connection;

/// The frames that a transport writes to a device's agent, in order.
///
/// A frame is chosen when it is polled for, not before: the device's clock starts then, and a call that was cancelled
/// or came too late is never written. Ends when the conversation is over; its last frame then says why. Dropping it
/// means that the connection is lost.
pub struct Outgoing {
    pub(super) connection: Arc<Connection>,
}

impl Outgoing {
    /// The next frame; `None` after the last.
    ///
    /// # Cancel safety
    /// Nothing is lost by dropping the future.
    pub async fn recv(&mut self) -> Option<AttachResponse> {
        std::future::poll_fn(|cx| self.connection.poll_frame(cx)).await
    }
}

impl Stream for Outgoing {
    type Item = AttachResponse;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connection.poll_frame(cx)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.connection.lost();
    }
}
