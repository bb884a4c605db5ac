//! Calls across connections: what an attach says of them, and what a new connection says of those of an earlier one.

use std::{collections::HashSet, time::Duration};

use bytes::Bytes;
use rollcall_proto::device as wire;

use super::{Asked, Calls, Effect, Entry, LinkId, Stage, stopped};
use crate::{
    core::{input::CallId, kept::Kept, once::Once, past::Past, room::Room},
    limits,
};

impl Default for Calls {
    fn default() -> Self {
        let mut calls = Self {
            table: Default::default(),
            tags: Default::default(),
            busy: Default::default(),
            checked: Default::default(),
            kept: Kept::default(),
            past: Past::default(),
            awaited_for: Duration::ZERO,
            once: Once::default(),
            room: Room::new(limits::ROOM_BYTES),
            last: 0,
        };
        calls.remember_for(limits::HEARTBEAT_INTERVAL, limits::RESUME_WINDOW);
        calls
    }
}

impl Calls {
    /// A node has said how often it pings and how long calls wait for their device.
    pub(crate) fn remember_for(&mut self, heartbeat: Duration, window: Duration) {
        self.awaited_for = heartbeat * limits::NOTICED_INTERVALS + window;
    }

    /// Fills in what an attach says of a device's earlier calls.
    pub(crate) fn list(&mut self, device: usize, now: Duration, attach: &mut wire::Attach) {
        self.expire(now);
        attach.running = self.running(device);
        attach.finished = self.kept.tokens(device).collect();
        let named: HashSet<&Bytes> = attach.running.iter().chain(&attach.finished).collect();
        attach.gone = self.past.tokens(device).filter(|token| !named.contains(token)).cloned().collect();
        attach.lists_all = self.past.is_complete(now);
    }

    /// A device's kept results, to be sent after its attach.
    pub(crate) fn replay(&mut self, device: usize, now: Duration) -> Vec<wire::Result> {
        self.kept.replay(device, now + self.awaited_for)
    }

    /// The caller does not want the answer to a call of an earlier connection any more.
    pub(crate) fn cancel_by_token(
        &mut self,
        token: &Bytes,
        home: (LinkId, u32),
        device: usize,
        now: Duration,
        out: &mut Vec<Effect>,
    ) {
        let asks = |asked: &Asked| asked.route.is_none() && asked.token == *token;
        let mine = |(_, entry): &(&CallId, &mut Entry)| {
            entry.device == device && (asks(&entry.asked) || entry.joined.iter().any(asks))
        };
        let Some((id, entry)) = self.table.iter_mut().find(mine) else { return };
        if !matches!(entry.stage, Stage::Running) {
            return;
        }
        if let Some(other) = entry.joined.pop() {
            // Others still want the answer.
            let left = match entry.joined.iter().position(asks) {
                _ if asks(&other) => other,
                Some(at) => std::mem::replace(&mut entry.joined[at], other),
                None => std::mem::replace(&mut entry.asked, other),
            };
            return out.extend(stopped(&left, Some(home)));
        }
        let id = *id;
        entry.stage = Stage::Stopping;
        self.forget(id, now);
        out.push(Effect::Abort(id));
    }

    /// The tokens of a device's calls whose handlers run or are being stopped, or whose results are on their way on
    /// another connection.
    fn running(&self, device: usize) -> Vec<Bytes> {
        let mine = |entry: &&Entry| entry.device == device && !matches!(entry.stage, Stage::Receiving(..));
        let asked = |entry: &'_ Entry| -> Vec<Bytes> {
            let all = std::iter::once(&entry.asked).chain(&entry.joined);
            all.map(|asked| asked.token.clone()).filter(|token| !token.is_empty()).collect()
        };
        self.table.values().filter(mine).flat_map(asked).collect()
    }
}
