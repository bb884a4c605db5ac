//! Many calls of one caller in one task: each is an entry of a table, without a future, a timer or a channel of its
//! own, as long as its first route is right. Any other goes the long way, as [`crate::Router::invoke`] does.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use compact_str::CompactString;
use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use hashbrown::HashMap;
use rollcall_registry::Registrar;
use slab::Slab;
use tokio::time::Instant;
use tokio_util::time::{DelayQueue, delay_queue::Key};

use super::{
    inbox::Inbox,
    quick::{Departed, Quick},
};
use crate::{
    Router,
    broadcast::Broadcast,
    call::{Call, Reply},
    delivery::Answer,
    limits,
    outcome::{Failure, Outcome, Reason},
    sessions::ending::GiveUp,
};

/// How a call of a [`Pipeline`] ended.
#[derive(Debug)]
pub struct Ended {
    /// The caller's name for it.
    pub tag: u64,
    /// What it was.
    pub call: CallFacts,
    /// Its end.
    pub result: Result<Reply, Failure>,
}

/// What is left to say of a call once it has ended.
#[derive(Debug, Clone)]
pub struct CallFacts {
    /// Its own name.
    pub request_id: CompactString,
    /// The group that it named; may be empty for a device that is named.
    pub group: CompactString,
    /// The action.
    pub action: CompactString,
    /// When it came.
    pub arrived: Instant,
}

impl CallFacts {
    /// Those of this call.
    pub fn of(call: &Call) -> Self {
        let Call { request_id, group, action, arrived, .. } = call;
        Self {
            request_id: request_id.clone(),
            group: group.clone(),
            action: action.clone(),
            arrived: *arrived,
        }
    }

    /// Those of this broadcast.
    pub fn of_broadcast(broadcast: &Broadcast) -> Self {
        let Broadcast { request_id, group, action, arrived, .. } = broadcast;
        Self {
            request_id: request_id.clone(),
            group: group.clone(),
            action: action.clone(),
            arrived: *arrived,
        }
    }
}

/// Where a call is.
enum Way {
    /// With a device or a peer.
    Quick(Departed, Key),
    /// Its time has run out; the last word on it may still come.
    Late(Departed, Key),
    /// On the long way.
    Detour(AbortHandle),
}

struct Entry {
    id: u64,
    tag: u64,
    facts: CallFacts,
    way: Way,
}

type Detour = Abortable<BoxFuture<'static, (u64, Result<Reply, Failure>)>>;

/// Many calls of one caller. Dropping it cancels them.
pub struct Pipeline<R: Registrar> {
    router: Router<R>,
    inbox: Arc<Inbox>,
    heard: Vec<(u64, Answer)>,
    entries: Slab<Entry>,
    by_tag: HashMap<u64, usize>,
    deadlines: DelayQueue<u64>,
    detours: FuturesUnordered<Detour>,
    ended: VecDeque<Ended>,
    sequence: u32,
}

impl<R: Registrar> Pipeline<R> {
    pub(crate) fn new(router: Router<R>) -> Self {
        Self {
            router,
            inbox: Arc::default(),
            heard: Vec::new(),
            entries: Slab::new(),
            by_tag: HashMap::new(),
            deadlines: DelayQueue::new(),
            detours: FuturesUnordered::new(),
            ended: VecDeque::new(),
            sequence: 0,
        }
    }

    /// Whether a call with this tag is in flight.
    pub fn contains(&self, tag: u64) -> bool {
        self.by_tag.contains_key(&tag)
    }

    /// Calls that have not been given back by [`Self::poll_ended`].
    pub fn len(&self) -> usize {
        self.by_tag.len() + self.ended.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a call under a tag that no other call in flight has. Its end comes through [`Self::poll_ended`].
    pub fn start(&mut self, tag: u64, call: Call) {
        let vacant = self.entries.vacant_entry();
        self.sequence = self.sequence.wrapping_add(1);
        let (index, id) = (vacant.key(), name(vacant.key(), self.sequence));
        let (deadline, facts) = (call.deadline, CallFacts::of(&call));
        let way = match self.router.dispatcher().depart(Box::new(call), &self.inbox, id) {
            Quick::Departed(departed) => Way::Quick(departed, self.deadlines.insert_at(id, deadline)),
            Quick::Ended(failure) => {
                return self.ended.push_back(Ended { tag, call: facts, result: Err(failure) });
            }
            Quick::Detour(call, attempts) => {
                Way::Detour(detour(&self.router, &self.detours, id, call, attempts))
            }
        };
        vacant.insert(Entry { id, tag, facts, way });
        self.by_tag.insert(tag, index);
    }

    /// Cancels a call, at its device too. Its end still comes. Nothing happens if it has ended.
    pub fn cancel(&mut self, tag: u64) {
        let Some(index) = self.by_tag.get(&tag).copied() else { return };
        let Some(id) = self.entries.get(index).map(|entry| entry.id) else { return };
        let Some(entry) = self.take(id) else { return };
        self.give_up(&entry.way);
        let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "the caller cancelled the call");
        self.ended.push_back(Ended { tag, call: entry.facts, result: Err(failure) });
    }

    /// The next call that has ended, in any order; pending while none has, also if none is in flight.
    pub fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Some(ended) = self.ended.pop_front() {
                return Poll::Ready(ended);
            }
            let progress = self.hear(cx) | self.end_detours(cx) | self.end_late(cx);
            if !progress {
                return Poll::Pending;
            }
        }
    }

    /// Takes in what devices and peers have said. Whether that was anything.
    fn hear(&mut self, cx: &Context<'_>) -> bool {
        let mut heard = std::mem::take(&mut self.heard);
        self.inbox.take(&mut heard, cx);
        let any = !heard.is_empty();
        for (id, answer) in heard.drain(..) {
            self.answered(id, answer);
        }
        self.heard = heard;
        any
    }

    fn answered(&mut self, id: u64, answer: Answer) {
        let Some(entry) = self.take(id) else { return };
        match entry.way {
            Way::Quick(departed, key) | Way::Late(departed, key) => {
                self.deadlines.try_remove(&key);
                self.arrived(entry.tag, entry.facts, departed, answer);
            }
            Way::Detour(_) => {}
        }
    }

    fn arrived(&mut self, tag: u64, facts: CallFacts, departed: Departed, answer: Answer) {
        match self.router.dispatcher().arrive(departed, answer) {
            Ok(result) => self.ended.push_back(Ended { tag, call: facts, result }),
            Err((call, attempts)) => {
                let vacant = self.entries.vacant_entry();
                self.sequence = self.sequence.wrapping_add(1);
                let (index, id) = (vacant.key(), name(vacant.key(), self.sequence));
                let way = Way::Detour(detour(&self.router, &self.detours, id, call, attempts));
                vacant.insert(Entry { id, tag, facts, way });
                self.by_tag.insert(tag, index);
            }
        }
    }

    fn end_detours(&mut self, cx: &mut Context<'_>) -> bool {
        match self.detours.poll_next_unpin(cx) {
            // One that was aborted has its end already.
            Poll::Ready(Some(Err(_aborted))) => true,
            Poll::Ready(Some(Ok((id, result)))) => {
                if let Some(Entry { tag, facts, .. }) = self.take(id) {
                    self.ended.push_back(Ended { tag, call: facts, result });
                }
                true
            }
            Poll::Ready(None) | Poll::Pending => false,
        }
    }

    /// Gives up calls whose time has run out: the first time they are cancelled, a moment later they end without an
    /// answer.
    fn end_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(Some(expired)) = self.deadlines.poll_expired(cx) else { return false };
        let id = expired.into_inner();
        let Some(entry) = self.take(id) else { return true };
        match entry.way {
            Way::Quick(departed, _) => {
                departed.cancel(GiveUp::Deadline);
                let key = self.deadlines.insert_at(id, Instant::now() + limits::DEADLINE_WORD);
                self.put_back(Entry { way: Way::Late(departed, key), ..entry });
            }
            Way::Late(departed, _) => {
                departed.forget();
                let answer = Err(departed.too_late());
                self.arrived(entry.tag, entry.facts, departed, answer);
            }
            Way::Detour(_) => self.put_back(entry),
        }
        true
    }

    fn take(&mut self, id: u64) -> Option<Entry> {
        let index = (id & u64::from(u32::MAX)) as usize;
        self.entries.get(index).filter(|entry| entry.id == id)?;
        let entry = self.entries.try_remove(index)?;
        self.by_tag.remove(&entry.tag);
        Some(entry)
    }

    /// Puts an entry back that was just taken: its place is the one that is free next.
    fn put_back(&mut self, entry: Entry) {
        let tag = entry.tag;
        let index = self.entries.insert(entry);
        self.by_tag.insert(tag, index);
    }

    fn give_up(&mut self, way: &Way) {
        match way {
            Way::Quick(departed, key) | Way::Late(departed, key) => {
                self.deadlines.try_remove(key);
                departed.cancel(GiveUp::Cancelled);
                self.router.dispatcher().cancelled(departed);
            }
            Way::Detour(handle) => handle.abort(),
        }
    }
}

/// Names a call among those of a pipeline: a place is used again, a name is not.
fn name(index: usize, sequence: u32) -> u64 {
    u64::from(sequence) << 32 | index as u64
}

fn detour<R: Registrar>(
    router: &Router<R>,
    detours: &FuturesUnordered<Detour>,
    id: u64,
    call: Box<Call>,
    attempts: u32,
) -> AbortHandle {
    let (router, (handle, registration)) = (router.clone(), AbortHandle::new_pair());
    let going = async move { (id, router.dispatcher().invoke(call, attempts).await) };
    detours.push(Abortable::new(going.boxed(), registration));
    handle
}

impl<R: Registrar> Drop for Pipeline<R> {
    fn drop(&mut self) {
        for entry in std::mem::take(&mut self.entries) {
            self.give_up(&entry.1.way);
        }
    }
}
