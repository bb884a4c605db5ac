//! What a connection's transport writes.

use std::task::{Context, Poll};

use rollcall_proto::device::{self, AttachResponse, attach_response::Frame};
use tokio::time::Instant;

use super::{Slot, State, frame};
use crate::{
    core::{in_flight::Tag, lanes::Next},
    sessions::after::After,
};

impl State {
    /// To be called after every change: tells what there is room for, notes that frames wait, and has the writer woken.
    pub(crate) fn settle(&mut self, now: Instant, after: &mut After) {
        while let Some(((slot, tag), bytes)) = self.incoming.next_credit() {
            if !self.is_ending() {
                let credit = device::Credit { tag: tag.0, bytes, messages: 0 };
                self.outbox.push_control(frame(slot, Frame::Credit(credit)));
            }
        }
        if self.outbox.is_empty() && !self.is_ending() {
            return;
        }
        self.stuck_since.get_or_insert(now);
        after.waker = self.waker.take();
    }

    /// The transport comes for the next frame. `None`: the conversation is over and all was said.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        after: &mut After,
    ) -> Poll<Option<AttachResponse>> {
        while let Some(next) = self.outbox.next() {
            let Some(frame) = self.frame_of(next, now, after) else { continue };
            self.stuck_since = (!self.outbox.is_empty()).then_some(now);
            return Poll::Ready(Some(frame));
        }
        self.stuck_since = None;
        if self.is_ending() {
            return Poll::Ready(None);
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn frame_of(
        &mut self,
        next: Next<AttachResponse, (u32, Tag), (u32, Tag)>,
        now: Instant,
        after: &mut After,
    ) -> Option<AttachResponse> {
        match next {
            Next::Control(frame) => Some(frame),
            Next::Chunk { key: (slot, tag), data, last } => {
                Some(frame(slot, Frame::Chunk(device::Chunk { tag: tag.0, data, last })))
            }
            Next::Small((slot, tag)) => {
                let Some(Slot::Open(open)) = self.slots.get_mut(&slot) else { return None };
                let written = open.write(tag, now, &mut self.outbox, after);
                if written.is_none() {
                    open.publish(&self.shared);
                }
                written.map(|written| frame(slot, written))
            }
        }
    }
}
