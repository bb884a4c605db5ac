//! The handshakes that go on at one listener. At the bound the oldest one makes room for the newest: an honest one takes a
//! few round trips, and whoever begins them by the thousand never ends one.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The handshakes of a listener.
#[derive(Debug)]
pub(crate) struct Handshakes {
    most: usize,
    going: Mutex<Going>,
}

#[derive(Debug, Default)]
struct Going {
    next: u64,
    /// The oldest first. Dropped, it is over.
    by_age: BTreeMap<u64, oneshot::Sender<()>>,
}

/// One that goes on until this is dropped.
#[derive(Debug)]
pub(crate) struct Begun {
    handshakes: Arc<Handshakes>,
    number: u64,
    crowded_out: oneshot::Receiver<()>,
}

impl Handshakes {
    /// So many at once at most.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, going: Mutex::default() })
    }

    /// One more begins.
    pub(crate) fn begin(self: &Arc<Self>) -> Begun {
        let (keep, crowded_out) = oneshot::channel();
        let mut going = self.going.lock();
        if going.by_age.len() >= self.most {
            going.by_age.pop_first();
        }
        let number = going.next;
        going.next += 1;
        going.by_age.insert(number, keep);
        Begun { handshakes: Arc::clone(self), number, crowded_out }
    }
}

impl Begun {
    /// Waits until it has to make room.
    pub(crate) async fn crowded_out(&mut self) {
        // Nothing is ever sent: the other end goes.
        let _ = (&mut self.crowded_out).await;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.handshakes.going.lock().by_age.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_oldest_makes_room_and_whoever_is_done_needs_none() {
        let handshakes = Handshakes::new(2);
        let (mut first, mut second) = (handshakes.begin(), handshakes.begin());
        assert!(first.crowded_out().now_or_never().is_none());
        let mut third = handshakes.begin();
        assert!(first.crowded_out().now_or_never().is_some());
        assert!(second.crowded_out().now_or_never().is_none());
        drop(second);
        let _fourth = handshakes.begin();
        assert!(third.crowded_out().now_or_never().is_none());
        drop(first);
        assert_eq!(handshakes.going.lock().by_age.len(), 2);
    }
}
