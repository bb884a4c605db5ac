//! Calls whose payloads are still arriving: their parts, and the room for them.

use std::time::Duration;

use rollcall_proto::device::{self as wire, RefusedReason, attach_request::Frame};

use super::{Calls, Effect, Route, Stage, name_of, refused};
use crate::core::{assembly::Mismatch, once::Known};

impl Calls {
    /// A further part of a payload came.
    pub(crate) fn chunk(
        &mut self,
        route: Route,
        chunk: &wire::Chunk,
        now: Duration,
        out: &mut Vec<Effect>,
    ) -> Result<(), Mismatch> {
        // Parts of a call that was refused or cancelled were on their way already.
        let Some(&id) = self.tags.get(&route) else { return Ok(()) };
        let Some(entry) = self.table.get_mut(&id) else { return Ok(()) };
        let Stage::Receiving(call, assembly) = &mut entry.stage else { return Err(Mismatch) };
        let Some(payload) = assembly.add(&chunk.data, chunk.last)? else { return Ok(()) };
        self.room.end(id);
        if entry.deadline.is_some_and(|deadline| deadline <= now) {
            self.remove(id);
            out.push(refused(route, RefusedReason::Expired, "the caller's time had run out".into()));
            return Ok(());
        }
        let mut call = std::mem::take(call);
        call.payload = payload;
        let name = name_of(entry.device, &call);
        let route = entry.asked.route.unwrap_or(route);
        if let Some(name) = name {
            // The tag must be free for the call that it joins.
            let known = self.once.look(&name, &call) != Known::New;
            if known {
                self.remove(id);
                self.is_answered(&name, route, &call, now, out);
                return Ok(());
            }
        }
        self.start(id, call, out);
        Ok(())
    }

    /// Lets those payloads come for which there is room now.
    pub(crate) fn give_credit(&mut self, out: &mut Vec<Effect>) {
        while let Some((id, bytes)) = self.room.next() {
            if let Some(Route { link, slot, tag }) = self.table.get(&id).and_then(|entry| entry.asked.route) {
                let credit = wire::Credit { tag, bytes, messages: 0 };
                out.push(Effect::send(link, slot, Frame::Credit(credit)));
            }
        }
    }
}
