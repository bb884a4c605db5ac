//! Idempotent calls that run here, or that have run not long ago: the same call again gets the same result.
//!
//! A node knows its own executions; this table also knows those that came by another node, or by an earlier session.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use rollcall_proto::device as wire;
use sha2::{Digest as _, Sha256};

use super::input::CallId;
use crate::limits;

/// Tells calls under the same request id apart.
type Digest = [u8; 32];

/// What is known of a call.
#[derive(Debug, PartialEq)]
pub(crate) enum Known {
    /// Nothing: it is to be executed.
    New,
    /// This call is the same, and runs.
    Running(CallId),
    /// It ran, with this result.
    Done(Box<wire::Result>),
    /// The request id belongs to another action or payload.
    Conflict,
    /// It ran, and its result has been given up.
    Lost,
}

#[derive(Debug)]
enum Stage {
    Running(CallId),
    Done(Box<wire::Result>),
    Lost,
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    stage: Stage,
    /// Names the entry among those of the same key.
    number: u64,
}

/// An idempotent call's name: its device and its request id.
pub(crate) type Name = (usize, String);

/// The names of all devices. At the bound of bytes the oldest result is given up, at that of names the oldest forgotten.
#[derive(Debug, Default)]
pub(crate) struct Once {
    entries: HashMap<Name, Entry>,
    /// Those that have run, oldest first, and until when they are remembered.
    past: VecDeque<(Name, u64, Duration)>,
    /// Those of them whose results are kept, oldest first.
    results: VecDeque<(Name, u64)>,
    bytes: u64,
    last: u64,
}

impl Once {
    /// What is known of a call whose payload is whole.
    pub(crate) fn look(&self, name: &Name, call: &wire::Call) -> Known {
        let Some(entry) = self.entries.get(name) else { return Known::New };
        if entry.digest != digest(call) {
            return Known::Conflict;
        }
        match &entry.stage {
            Stage::Running(id) => Known::Running(*id),
            Stage::Done(result) => Known::Done(result.clone()),
            Stage::Lost => Known::Lost,
        }
    }

    /// A call that was [`Known::New`] runs now.
    pub(crate) fn started(&mut self, name: Name, call: &wire::Call, id: CallId) {
        self.last += 1;
        let entry = Entry { digest: digest(call), stage: Stage::Running(id), number: self.last };
        self.entries.insert(name, entry);
    }

    /// It ended; `None`: without a result, so that the same call again is a new one.
    pub(crate) fn ended(&mut self, name: &Name, result: Option<&wire::Result>, now: Duration) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let Some(result) = result else { return drop(self.entries.remove(name)) };
        entry.stage = Stage::Done(Box::new(result.clone()));
        self.bytes += result.payload.len() as u64;
        self.results.push_back((name.clone(), entry.number));
        self.past.push_back((name.clone(), entry.number, now + limits::ONCE_FOR));
        while self.past.len() > limits::ONCE_NAMES {
            self.forget_oldest();
        }
        while self.bytes > limits::ONCE_BYTES
            && let Some((name, number)) = self.results.pop_front()
        {
            self.give_up(&name, number);
        }
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Duration) {
        while self.past.front().is_some_and(|(_, _, until)| *until <= now) {
            self.forget_oldest();
        }
    }

    fn give_up(&mut self, name: &Name, number: u64) {
        if let Some(entry) = self.entries.get_mut(name).filter(|entry| entry.number == number)
            && let Stage::Done(result) = std::mem::replace(&mut entry.stage, Stage::Lost)
        {
            self.bytes -= result.payload.len() as u64;
        }
    }

    fn forget_oldest(&mut self) {
        let Some((name, number, _)) = self.past.pop_front() else { return };
        // Both queues are in the order of endings.
        if self.results.front().is_some_and(|(_, oldest)| *oldest == number) {
            self.results.pop_front();
        }
        self.give_up(&name, number);
        if self.entries.get(&name).is_some_and(|entry| entry.number == number) {
            self.entries.remove(&name);
        }
    }
}

fn digest(call: &wire::Call) -> Digest {
    let mut hash = Sha256::new();
    // The length keeps (ab, c) and (a, bc) apart.
    hash.update((call.action.len() as u64).to_be_bytes());
    hash.update(call.action.as_bytes());
    hash.update(&call.payload);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(payload: u8) -> wire::Call {
        wire::Call { action: "work".into(), payload: vec![payload].into(), ..Default::default() }
    }

    fn result(payload: u8, bytes: usize) -> wire::Result {
        wire::Result { payload: vec![payload; bytes].into(), ..Default::default() }
    }

    #[test]
    fn a_result_is_kept_until_it_is_too_old() {
        let (mut once, name) = (Once::default(), (0, "r".to_owned()));
        once.started(name.clone(), &call(1), CallId(7));
        assert_eq!(once.look(&name, &call(1)), Known::Running(CallId(7)));
        once.ended(&name, Some(&result(9, 3)), Duration::ZERO);
        assert_eq!(once.look(&name, &call(1)), Known::Done(Box::new(result(9, 3))));
        assert_eq!(once.look(&name, &call(2)), Known::Conflict);
        assert_eq!(once.look(&(1, "r".to_owned()), &call(1)), Known::New, "another device");
        once.expire(limits::ONCE_FOR);
        assert_eq!(once.look(&name, &call(1)), Known::New);
        assert_eq!((once.bytes, once.results.len(), once.entries.len()), (0, 0, 0));
    }

    #[test]
    fn a_result_given_up_for_room_is_remembered_as_lost() {
        let (mut once, half) = (Once::default(), limits::ONCE_BYTES as usize / 2 + 1);
        for name in ["a", "b"] {
            once.started((0, name.to_owned()), &call(1), CallId(1));
            once.ended(&(0, name.to_owned()), Some(&result(1, half)), Duration::ZERO);
        }
        assert_eq!(once.look(&(0, "a".to_owned()), &call(1)), Known::Lost);
        assert!(matches!(once.look(&(0, "b".to_owned()), &call(1)), Known::Done(_)));
    }

    proptest! {
        #[test]
        fn a_result_is_only_given_to_its_own_payload_and_within_the_bounds(
            steps in prop::collection::vec((0..6u8, 0..3u8, 0..4u8, 0..6_000_000usize), 1..60),
        ) {
            let (mut once, mut now) = (Once::default(), Duration::ZERO);
            for (name, payload, what, bytes) in steps {
                let name = (0, name.to_string());
                now += Duration::from_secs(u64::from(what) * 10);
                once.expire(now);
                match once.look(&name, &call(payload)) {
                    Known::New => once.started(name, &call(payload), CallId(u64::from(payload))),
                    Known::Running(id) => {
                        prop_assert_eq!(id, CallId(u64::from(payload)));
                        let result = result(payload, bytes.max(1));
                        once.ended(&name, (what > 0).then_some(&result), now);
                    }
                    Known::Done(result) => prop_assert_eq!(result.payload[0], payload),
                    Known::Conflict | Known::Lost => {}
                }
                let kept: u64 = once.entries.values().map(|entry| match &entry.stage {
                    Stage::Done(result) => result.payload.len() as u64,
                    Stage::Running(_) | Stage::Lost => 0,
                }).sum();
                prop_assert_eq!(kept, once.bytes);
                prop_assert!(once.bytes <= limits::ONCE_BYTES && once.past.len() <= limits::ONCE_NAMES);
            }
        }
    }
}
