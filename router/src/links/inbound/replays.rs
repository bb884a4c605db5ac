//! Answers of other nodes' devices that arrive in parts.

use hashbrown::HashMap;
use rollcall_proto::peer::{LinkChunk, ReplayedAnswer, replayed_answer};

use super::{Arrival, Inbound};
use crate::{
    limits,
    links::wire,
    payload::{Assembled, Assembly, Payload},
};

/// The answers that are still arriving. Beyond [`limits::ARRIVING_REPLAYS`] further long ones are dropped: their callers
/// hear `UNKNOWN` when their windows end.
#[derive(Default)]
pub(super) struct Replays {
    arriving: HashMap<u64, (ReplayedAnswer, Assembly)>,
}

impl Replays {
    pub(super) fn clear(&mut self) {
        self.arriving.clear();
    }
}

impl Inbound {
    pub(super) fn replay(&self, number: u64, mut replay: ReplayedAnswer) -> Option<Arrival> {
        let (mut first, mut expected) = (bytes::Bytes::new(), 0);
        if let Some(replayed_answer::Answer::Reply(reply)) = &mut replay.answer {
            first = std::mem::take(&mut reply.payload);
            expected = reply.payload_bytes;
        }
        if expected <= first.len() as u64 {
            return whole(replay, first.into());
        }
        if expected <= self.max_payload_bytes {
            let arriving = &mut self.state.lock().replays.arriving;
            if arriving.len() < limits::ARRIVING_REPLAYS {
                arriving.insert(number, (replay, Assembly::new(first, expected)));
            }
        }
        None
    }

    pub(super) fn replay_chunk(
        &self,
        number: u64,
        chunk: LinkChunk,
    ) -> Result<Option<Arrival>, &'static str> {
        let arriving = &mut self.state.lock().replays.arriving;
        // Of one that was not taken.
        let Some((_, assembly)) = arriving.get_mut(&number) else { return Ok(None) };
        match assembly.push(chunk.data, chunk.last) {
            Assembled::Partly => Ok(None),
            Assembled::Mismatch => Err("a replay's chunks do not add up to its payload_bytes"),
            Assembled::Whole => {
                let Some((replay, assembly)) = arriving.remove(&number) else { return Ok(None) };
                Ok(whole(replay, assembly.into_payload()))
            }
        }
    }
}

fn whole(replay: ReplayedAnswer, payload: Payload) -> Option<Arrival> {
    wire::replay_of(replay, payload).map(|replayed| Arrival::Replay(Box::new(replayed)))
}
