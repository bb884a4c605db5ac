//! The transport's side of a device connection.

use std::{ops::ControlFlow, sync::Arc};

use rollcall_proto::device::AttachRequest;

use super::connection::Connection;

/// A device connection, for the transport that reads from it. Dropping it means that the connection is lost, unless
/// [`Self::finished`] was said before.
pub struct DeviceConnection {
    pub(crate) connection: Arc<Connection>,
}

impl DeviceConnection {
    /// Frames came in, in this order; they are taken out. `Break`: read no more; write what [`super::outgoing::Outgoing`] still has, then drop both.
    ///
    /// Never waits for a handler, a commit or a peer.
    ///
    /// # Cancel safety
    /// The frames are handled at the first poll or not at all.
    pub async fn received(&mut self, frames: &mut Vec<AttachRequest>) -> ControlFlow<()> {
        if self.connection.receive(frames) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// The agent has ended its stream in good order: its sessions are over, as after a Detach on each.
    pub fn finished(&mut self) {
        self.connection.finished();
    }

    /// Resolves when the node has ended the conversation: read no more, as after `Break`.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn over(&self) {
        self.connection.over.notified().await;
        // For whoever asks again.
        self.connection.over.notify_one();
    }
}

impl Drop for DeviceConnection {
    fn drop(&mut self) {
        self.connection.lost();
    }
}
