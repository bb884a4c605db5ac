//! The two streams of packets that tonic writes for us. A packet is made when it is polled for.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::Stream;
use rollcall_proto::peer::{LinkRequest, LinkResponse};
use tonic::Status;

use super::{inbound::Inbound, outbound::OutboundLink};

/// Packets towards a holder, of one session of a link.
pub(crate) struct CallPackets {
    pub(crate) link: Arc<OutboundLink>,
    pub(crate) session: u64,
}

impl Stream for CallPackets {
    type Item = LinkRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<LinkRequest>> {
        self.link.poll_packet(self.session, cx)
    }
}

/// Packets towards an origin. Dropping it means that the link is gone.
pub(crate) struct ReplyPackets {
    pub(crate) link: Arc<Inbound>,
}

impl Stream for ReplyPackets {
    type Item = Result<LinkResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.link.poll_packet(cx).map(|packet| packet.map(Ok))
    }
}

impl Drop for ReplyPackets {
    fn drop(&mut self) {
        self.link.close();
    }
}
