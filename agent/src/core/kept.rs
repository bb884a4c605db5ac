//! Results that may have to be sent again after a reconnect, within bounds of number, bytes and age.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use rollcall_proto::device as wire;

use crate::limits;

/// A kept result.
#[derive(Debug)]
struct Entry {
    device: usize,
    until: Duration,
    sent: bool,
    result: Box<wire::Result>,
}

/// The results of all devices, oldest first. At a bound the oldest one gives way.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    entries: VecDeque<Entry>,
    bytes: u64,
    sent: usize,
    sent_bytes: u64,
    /// Results that were given up for room.
    given_up: u64,
}

impl Kept {
    /// Keeps a result that could not be sent.
    pub(crate) fn unsent(&mut self, device: usize, result: Box<wire::Result>, now: Duration) {
        self.push(Entry { device, until: now + limits::KEPT_FOR, sent: false, result });
    }

    /// Keeps a result that was handed to a connection which may have been dead already, until then.
    pub(crate) fn sent(&mut self, device: usize, result: Box<wire::Result>, until: Duration) {
        self.push(Entry { device, until, sent: true, result });
        while (self.sent > limits::SENT_RESULTS || self.sent_bytes > limits::SENT_BYTES)
            && let Some(oldest) = self.entries.iter().position(|entry| entry.sent)
        {
            self.remove(oldest);
        }
    }

    /// How many results that could not be sent were given up for room.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some(old) = self.entries.iter().position(|entry| entry.until <= now) {
            self.remove(old);
        }
    }

    /// The tokens of a device's results.
    pub(crate) fn tokens(&self, device: usize) -> impl Iterator<Item = Bytes> + '_ {
        self.entries
            .iter()
            .filter(move |entry| entry.device == device)
            .map(|entry| entry.result.token.clone())
    }

    /// A device's results, to be sent after its attach. They stay for a while, as sent.
    pub(crate) fn replay(&mut self, device: usize, until: Duration) -> Vec<wire::Result> {
        let mut results = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.device == device) {
            results.push(wire::Result::clone(&entry.result));
            if !entry.sent {
                entry.sent = true;
                entry.until = until;
                self.sent += 1;
                self.sent_bytes += entry.result.payload.len() as u64;
            }
        }
        results
    }

    fn push(&mut self, entry: Entry) {
        if entry.result.token.is_empty() {
            return;
        }
        let bytes = entry.result.payload.len() as u64;
        self.bytes += bytes;
        self.sent += usize::from(entry.sent);
        self.sent_bytes += if entry.sent { bytes } else { 0 };
        self.entries.push_back(entry);
        while self.entries.len() > limits::KEPT_RESULTS || self.bytes > limits::KEPT_BYTES {
            self.given_up += u64::from(self.entries.front().is_some_and(|oldest| !oldest.sent));
            self.remove(0);
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(entry) = self.entries.remove(index) {
            let bytes = entry.result.payload.len() as u64;
            self.bytes -= bytes;
            self.sent -= usize::from(entry.sent);
            self.sent_bytes -= if entry.sent { bytes } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn result(token: u64, bytes: usize) -> Box<wire::Result> {
        let token = Bytes::copy_from_slice(&token.to_be_bytes());
        Box::new(wire::Result { token, payload: vec![0; bytes].into(), ..wire::Result::default() })
    }

    #[test]
    fn a_result_is_replayed_to_its_own_device_until_it_is_too_old() {
        let mut kept = Kept::default();
        kept.unsent(0, result(1, 3), Duration::ZERO);
        kept.sent(1, result(2, 3), Duration::from_secs(15));
        assert_eq!(kept.tokens(0).count(), 1);
        assert_eq!(kept.replay(0, Duration::from_secs(16)).len(), 1);
        kept.expire(Duration::from_secs(15));
        assert_eq!((kept.tokens(0).count(), kept.tokens(1).count()), (1, 0));
        kept.expire(Duration::from_secs(16));
        assert_eq!(kept.tokens(0).count(), 0);
        assert_eq!((kept.bytes, kept.sent, kept.sent_bytes), (0, 0, 0));
    }

    #[test]
    fn a_result_without_a_token_cannot_be_replayed() {
        let mut kept = Kept::default();
        kept.unsent(0, Box::default(), Duration::ZERO);
        assert_eq!(kept.tokens(0).count(), 0);
    }

    proptest! {
        #[test]
        fn its_bounds_hold_whatever_comes(steps in prop::collection::vec((any::<bool>(), 0usize..200_000), 0..600)) {
            let mut kept = Kept::default();
            for (token, (sent, bytes)) in steps.into_iter().enumerate() {
                let (result, now) = (result(token as u64, bytes), Duration::from_millis(token as u64));
                if sent { kept.sent(0, result, now) } else { kept.unsent(0, result, now) }
                prop_assert!(kept.sent <= limits::SENT_RESULTS && kept.entries.len() <= limits::KEPT_RESULTS);
                prop_assert!(kept.bytes <= limits::KEPT_BYTES && kept.sent_bytes <= limits::SENT_BYTES);
                let sent = kept.entries.iter().filter(|entry| entry.sent);
                prop_assert_eq!(kept.sent_bytes, sent.map(|entry| entry.result.payload.len() as u64).sum::<u64>());
                prop_assert_eq!(kept.bytes, kept.entries.iter().map(|entry| entry.result.payload.len() as u64).sum::<u64>());
            }
        }
    }
}
