//! Many calls of one caller, whoever answers them: the router at its price, anything else by a future each.

use std::{
    collections::{HashMap, VecDeque},
    task::{Context, Poll},
};

use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use rollcall_registry::Registrar;
use rollcall_router::{Call, CallFacts, Ended, Failure, Outcome, Pipeline, Reason, Reply};

use super::invoke_service::Invoker;

/// Many calls of one caller. Dropping it cancels them.
pub trait Calls: Send {
    /// Whether a call with this tag is in flight.
    fn contains(&self, tag: u64) -> bool;

    /// Calls that have not been given back by [`Self::poll_ended`].
    fn count(&self) -> usize;

    /// Starts a call under a tag that no other call in flight has.
    fn start(&mut self, tag: u64, call: Call);

    /// Cancels a call. Its end still comes.
    fn cancel(&mut self, tag: u64);

    /// The next call that has ended, in any order; pending while none has.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended>;
}

impl<R: Registrar> Calls for Pipeline<R> {
    fn contains(&self, tag: u64) -> bool {
        self.contains(tag)
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn start(&mut self, tag: u64, call: Call) {
        self.start(tag, call);
    }

    fn cancel(&mut self, tag: u64) {
        self.cancel(tag);
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.poll_ended(cx)
    }
}

type Running = Abortable<BoxFuture<'static, (u64, Result<Reply, Failure>)>>;

/// A future for each call.
pub struct EachByItself<I> {
    invoker: I,
    running: FuturesUnordered<Running>,
    by_tag: HashMap<u64, (AbortHandle, CallFacts)>,
    ended: VecDeque<Ended>,
}

impl<I> EachByItself<I> {
    /// No calls yet.
    pub fn new(invoker: I) -> Self {
        Self { invoker, running: FuturesUnordered::new(), by_tag: HashMap::new(), ended: VecDeque::new() }
    }
}

impl<I: Invoker> Calls for EachByItself<I> {
    fn contains(&self, tag: u64) -> bool {
        self.by_tag.contains_key(&tag)
    }

    fn count(&self) -> usize {
        self.by_tag.len() + self.ended.len()
    }

    fn start(&mut self, tag: u64, call: Call) {
        let (handle, registration) = AbortHandle::new_pair();
        self.by_tag.insert(tag, (handle, CallFacts::of(&call)));
        let invoker = self.invoker.clone();
        let going = async move { (tag, invoker.invoke(call).await) }.boxed();
        self.running.push(Abortable::new(going, registration));
    }

    fn cancel(&mut self, tag: u64) {
        if let Some((handle, facts)) = self.by_tag.remove(&tag) {
            handle.abort();
            let failure = Failure::new(Reason::Cancelled, Outcome::Unknown, "the caller cancelled the call");
            self.ended.push_back(Ended { tag, call: facts, result: Err(failure) });
        }
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Some(ended) = self.ended.pop_front() {
                return Poll::Ready(ended);
            }
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok((tag, result)))) => {
                    let Some((_, facts)) = self.by_tag.remove(&tag) else { continue };
                    return Poll::Ready(Ended { tag, call: facts, result });
                }
                Poll::Ready(Some(Err(_aborted))) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}
