//! What holds of the core whatever nodes and handlers do.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use proptest::prelude::*;
use rollcall_proto::device::{self as wire, attach_request, attach_response::Frame};

use super::{CallId, Core, Effect, Fault, Input, LinkId, Moment, Outcome, Session};

const DEVICES: usize = 2;
const CAPACITY: u32 = 2;

/// One step; numbers choose among what there is at the time.
#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Connect(u8),
    Lose(u8),
    Welcome(u8),
    Attached(u8, u8, bool),
    Refused(u8, u8, i32),
    Closed(u8, u8, i32),
    Superseded(u8, u8, bool),
    GoAway(u8, i32),
    Call(u8, u8, u64, u64),
    Chunk(u8, u8, u64),
    Cancel(u8, u8, u64),
    End(u8, u8),
    Write(u8),
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    let some = 0..4u8;
    let slot = 0..4u8;
    let code = 0..14i32;
    prop_oneof![
        6 => (1..40_000u64).prop_map(Step::Pass),
        6 => some.clone().prop_map(Step::Connect),
        1 => some.clone().prop_map(Step::Lose),
        6 => some.clone().prop_map(Step::Welcome),
        8 => (some.clone(), slot.clone(), any::<bool>()).prop_map(|(l, s, r)| Step::Attached(l, s, r)),
        2 => (some.clone(), slot.clone(), code.clone()).prop_map(|(l, s, c)| Step::Refused(l, s, c)),
        1 => (some.clone(), slot.clone(), code.clone()).prop_map(|(l, s, c)| Step::Closed(l, s, c)),
        1 => (some.clone(), slot.clone(), any::<bool>()).prop_map(|(l, s, i)| Step::Superseded(l, s, i)),
        1 => (some.clone(), code).prop_map(|(l, c)| Step::GoAway(l, c)),
        8 => (some.clone(), slot.clone(), 1..6u64, 0..15u64).prop_map(|(l, s, t, b)| Step::Call(l, s, t, b)),
        2 => (some.clone(), slot.clone(), 1..6u64).prop_map(|(l, s, t)| Step::Chunk(l, s, t)),
        3 => (some.clone(), slot, 1..6u64).prop_map(|(l, s, t)| Step::Cancel(l, s, t)),
        6 => (some.clone(), 0..3u8).prop_map(|(c, how)| Step::End(c, how)),
        6 => some.prop_map(Step::Write),
        1 => Just(Step::Stop),
    ]
}

/// The world around the core, as far as the properties need it.
#[derive(Debug, Default)]
struct World {
    now: Duration,
    epoch: u64,
    links: Vec<LinkId>,
    ended: HashSet<LinkId>,
    /// Slots that the node would say are in use.
    slots: HashSet<(LinkId, u32)>,
    /// Slots on which a node may still send calls.
    serving: HashSet<(LinkId, u32)>,
    /// Slots that deliver results and nothing else.
    over: HashSet<(LinkId, u32)>,
    running: HashMap<CallId, usize>,
    waiting: Vec<CallId>,
    done: bool,
}

impl World {
    fn input(&mut self, step: Step) -> Option<Input> {
        let link = |which: u8| self.links.get(which as usize % self.links.len().max(1)).copied();
        let frame = |which, slot: u8, frame| Some(Input::Frame(link(which)?, slot.into(), frame));
        match step {
            Step::Pass(millis) => {
                self.now += Duration::from_millis(millis);
                Some(Input::Tick)
            }
            Step::Connect(which) => Some(Input::Connected(link(which)?)),
            Step::Lose(which) => {
                let gone = link(which)?;
                self.links.retain(|link| *link != gone);
                Some(Input::Lost(gone, Fault::transient("gone")))
            }
            Step::Welcome(which) => {
                frame(which, 0, Frame::Welcome(wire::Welcome { chunk_bytes: 10, ..Default::default() }))
            }
            Step::Attached(which, slot, resumed) => {
                self.epoch += 1;
                let slot_there = (link(which)?, slot.into());
                if self.slots.contains(&slot_there) && !self.over.contains(&slot_there) {
                    self.serving.insert(slot_there);
                }
                let epoch = self.epoch;
                frame(which, slot, Frame::Attached(wire::Attached { epoch, resumed, ..Default::default() }))
            }
            Step::Refused(which, slot, code) => {
                self.slots.remove(&(link(which)?, slot.into()));
                self.serving.remove(&(link(which)?, slot.into()));
                frame(which, slot, Frame::AttachRefused(wire::AttachRefused { code, ..Default::default() }))
            }
            Step::Closed(which, slot, code) => {
                self.slots.remove(&(link(which)?, slot.into()));
                self.serving.remove(&(link(which)?, slot.into()));
                frame(which, slot, Frame::Closed(wire::Closed { code, ..Default::default() }))
            }
            Step::Superseded(which, slot, same_instance) => {
                let slot_there = (link(which)?, slot.into());
                self.serving.remove(&slot_there);
                self.over.insert(slot_there);
                if !same_instance {
                    self.slots.remove(&(link(which)?, slot.into()));
                }
                frame(which, slot, Frame::Superseded(wire::Superseded { winner_epoch: 0, same_instance }))
            }
            Step::GoAway(which, code) => {
                frame(which, 0, Frame::GoAway(wire::GoAway { code, ..Default::default() }))
            }
            Step::Call(which, slot, tag, payload_bytes) => {
                let call = wire::Call {
                    tag,
                    epoch: self.epoch,
                    action: "work".into(),
                    idempotent: tag >= 4,
                    request_id: "r".into(),
                    token: vec![tag as u8].into(),
                    payload: vec![0; payload_bytes.min(10) as usize].into(),
                    payload_bytes,
                    ..Default::default()
                };
                frame(which, slot, Frame::Call(call.into()))
            }
            Step::Chunk(which, slot, tag) => {
                frame(which, slot, Frame::Chunk(wire::Chunk { tag, data: vec![0; 2].into(), last: true }))
            }
            Step::Cancel(which, slot, tag) => {
                frame(which, slot, Frame::Cancel(wire::Cancel { tag, ..Default::default() }))
            }
            Step::End(which, how) => {
                let mut calls: Vec<_> = self.running.keys().copied().collect();
                calls.sort();
                let call = *calls.get(which as usize % calls.len().max(1))?;
                self.running.remove(&call);
                Some(Input::Finished(
                    call,
                    match how {
                        0 => Outcome::Stopped,
                        1 => Outcome::Failed("broken".into()),
                        _ => Outcome::Reply {
                            payload: vec![0; 3].into(),
                            content_type: String::new(),
                            metadata: HashMap::new(),
                        },
                    },
                ))
            }
            Step::Write(which) => {
                let index = which as usize % self.waiting.len().max(1);
                (index < self.waiting.len()).then(|| Input::Written(self.waiting.remove(index)))
            }
            Step::Stop => (self.epoch > 5).then_some(Input::Stop(Duration::from_secs(1))),
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Dial(link, _) => self.links.push(link),
            Effect::End(link) => assert!(self.ended.insert(link), "ended twice"),
            Effect::Drop(link) => self.links.retain(|known| *known != link),
            Effect::Send(link, frame) => {
                if matches!(frame.frame, Some(attach_request::Frame::Attach(_))) {
                    assert!(!self.ended.contains(&link), "attach on a connection that ends");
                    assert!(self.slots.insert((link, frame.slot)), "attach on a slot that is in use");
                    self.over.remove(&(link, frame.slot));
                }
            }
            Effect::Reply(_, _, Some(call), _) => self.waiting.push(call),
            Effect::Start(call, device, request, _) => {
                assert_eq!(
                    request.payload.len() as u64,
                    request.payload_bytes,
                    "started with half a payload"
                );
                assert!(self.running.insert(call, device).is_none(), "started twice");
                let beside = self.running.values().filter(|other| **other == device).count();
                assert!(beside <= CAPACITY as usize, "more calls than the capacity");
            }
            Effect::Abort(call) => assert!(self.running.contains_key(&call), "aborted what does not run"),
            Effect::Done => self.done = true,
            Effect::ChunkBytes(..)
            | Effect::Renew(..)
            | Effect::WaitForCredit(_)
            | Effect::Credit(..)
            | Effect::Discard(..)
            | Effect::Reply(..)
            | Effect::State(..)
            | Effect::Note(..) => {}
        }
    }
}

fn a_core() -> Core {
    let profile = wire::Profile { actions: vec!["work".into()], capacity: CAPACITY, ..Default::default() };
    let session = |n: usize| Session::new("default".into(), format!("d{n}"), profile.clone());
    let servers = vec!["http://a:1".into(), "http://b:1".into()];
    Core::new(7, servers, (0..DEVICES).map(session).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_connection_is_ended_whose_node_may_still_send_calls(
        steps in prop::collection::vec((step(), 0.0..1.0f64), 1..80),
    ) {
        let mut core = a_core();
        let mut world = World::default();
        for (step, random) in steps {
            let Some(input) = world.input(step) else { continue };
            let (mut effects, next) = (Vec::new(), core.next);
            core.handle(input, Moment { now: world.now, random }, &mut effects);
            for effect in effects {
                if let Effect::End(link) = &effect
                    && core.stopping.is_none()
                    // One that was to take over may be given up before it does.
                    && next != Some(*link)
                {
                    prop_assert!(world.serving.iter().all(|(on, _)| on != link), "{link:?}: {:?}", world.serving);
                }
                world.perform(effect);
            }
            if world.done {
                break;
            }
        }
    }

    #[test]
    fn no_slot_call_or_connection_is_ever_used_twice_and_no_timer_spins(
        steps in prop::collection::vec((step(), 0.0..1.0f64), 1..80),
    ) {
        let mut core = a_core();
        let mut world = World::default();
        for (step, random) in steps {
            let Some(input) = world.input(step) else { continue };
            let mut effects = Vec::new();
            core.handle(input, Moment { now: world.now, random }, &mut effects);
            effects.into_iter().for_each(|effect| world.perform(effect));
            // Whatever was due is done by now, so that the next wake lies ahead.
            let mut effects = Vec::new();
            core.handle(Input::Tick, Moment { now: world.now, random }, &mut effects);
            effects.into_iter().for_each(|effect| world.perform(effect));
            prop_assert!(core.wake_at().is_none_or(|at| at > world.now), "{:?} at {:?}", core.wake_at(), world.now);
            prop_assert!(core.links.len() <= 4, "{} connections", core.links.len());
            if world.done {
                break;
            }
            let asleep = core.wake_at().is_none() && core.links.values().all(|link| link.patience().is_some());
            prop_assert!(!asleep, "nothing will ever happen again");
        }
    }
}
