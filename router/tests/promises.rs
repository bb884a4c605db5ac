//! What is promised to every call, whatever its device and the nodes do meanwhile: the device moves, is lost and comes back,
//! nodes hear of it late or lose their place for a moment. One device, two nodes, scenarios drawn from a fixed seed.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use rollcall_proto::device::{
    self, Attached, RefusedReason, attach_request::Frame as Up, attach_response::Frame as Down,
};
use rollcall_router::{Call, Failure, Outcome, Reply};
use tokio::{sync::mpsc, task::JoinHandle};
use world::{
    Cluster,
    agent::{Agent, attach, profile},
    call, call_to, wait_until,
};

const SCENARIOS: usize = 24;
/// The payload of calls whose handlers answer at once.
const AT_ONCE: &[u8] = b"now";

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A call through a node; its handler answers at once, or only when it is told to.
    Call {
        node: u64,
        named: bool,
        at_once: bool,
    },
    /// The device attaches at a node, beside the connection that it has.
    Move(u64),
    /// Its newest connection is lost.
    Lose,
    /// Its handlers answer.
    Answer,
    /// A node applies nothing any more, or applies what it has missed.
    HoldBack(u64),
    CatchUp,
    /// A node loses its lease and is registered again.
    Lapse(u64),
    /// Whatever is under way goes on for a moment.
    Pause(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 1..=2_u64;
    prop_oneof![
        10 => (node(), any::<bool>(), any::<bool>())
            .prop_map(|(node, named, at_once)| Step::Call { node, named, at_once }),
        4 => node().prop_map(Step::Move),
        2 => Just(Step::Lose),
        3 => Just(Step::Answer),
        1 => node().prop_map(Step::HoldBack),
        2 => Just(Step::CatchUp),
        1 => node().prop_map(Step::Lapse),
        5 => (0..4_u64).prop_map(Step::Pause),
    ]
}

/// What the agent knows across its connections.
#[derive(Default)]
struct Known {
    attaches: u64,
    newest: Option<Attached>,
    /// Calls whose handlers run, with the connection that they came by.
    running: Vec<(u64, device::Call)>,
    /// Tokens of those that have ended.
    past: Vec<Bytes>,
    /// How often each request was executed.
    executed: HashMap<String, u32>,
    /// What must not be.
    broken: Vec<String>,
}

/// A connection of the agent.
struct Link {
    number: u64,
    /// Calls to answer: under their tags, or by their tokens under tag 0.
    answers: mpsc::UnboundedSender<device::Call>,
    takes_replays: bool,
    task: JoinHandle<()>,
}

/// Serves a connection as an agent has to: until it is lost, or its node knows of the move and nothing is owed to it.
async fn serve(
    mut agent: Agent,
    (number, mut epoch): (u64, u64),
    known: Arc<Mutex<Known>>,
    mut answers: mpsc::UnboundedReceiver<device::Call>,
) {
    let mut superseded = false;
    let owes = |known: &Mutex<Known>| known.lock().running.iter().any(|(link, _)| *link == number);
    while !superseded || owes(&known) {
        let frame = tokio::select! {
            biased;
            call = answers.recv() => {
                let Some(call) = call else { return };
                known.lock().ended(&call);
                agent.answer(1, &call, Bytes::from_static(b"x")).await;
                continue;
            }
            frame = agent.next_frame() => frame,
        };
        match frame.and_then(|frame| frame.frame) {
            Some(Down::Call(call)) => {
                let verdict = known.lock().begins(number, epoch, &call);
                match verdict {
                    Verdict::Stale => {
                        let reason = RefusedReason::StaleEpoch.into();
                        let refused = device::Refused { tag: call.tag, reason, ..Default::default() };
                        let _ = agent.say(1, Up::Refused(refused)).await;
                    }
                    Verdict::Done => agent.answer(1, &call, Bytes::from_static(b"x")).await,
                    Verdict::Runs => {}
                }
            }
            Some(Down::Attached(attached)) => {
                epoch = attached.epoch;
                known.lock().attached(attached);
            }
            Some(Down::Superseded(_)) => superseded = true,
            Some(Down::Closed(_)) | None => return,
            Some(_) => {}
        }
    }
    agent.finish();
}

enum Verdict {
    Stale,
    Done,
    Runs,
}

impl Known {
    /// A call came on a connection whose session has this epoch.
    fn begins(&mut self, link: u64, epoch: u64, call: &device::Call) -> Verdict {
        if call.epoch != epoch {
            self.broken.push(format!("a call routed by epoch {} on a session of {epoch}", call.epoch));
        }
        if self.newest.as_ref().is_some_and(|newest| call.epoch < newest.epoch) {
            return Verdict::Stale;
        }
        *self.executed.entry(call.request_id.clone()).or_default() += 1;
        if &call.payload[..] == AT_ONCE {
            self.past.push(call.token.clone());
            return Verdict::Done;
        }
        self.running.push((link, call.clone()));
        Verdict::Runs
    }

    fn ended(&mut self, call: &device::Call) {
        self.running.retain(|(_, running)| running.token != call.token);
        self.past.push(call.token.clone());
    }

    fn attached(&mut self, attached: Attached) {
        if self.newest.as_ref().is_none_or(|newest| newest.epoch < attached.epoch) {
            self.newest = Some(attached);
        }
    }

    /// The next attach, with what it has to say of earlier calls. `alone`: no older connection is in use.
    fn attach(&mut self, alone: bool) -> device::Attach {
        self.attaches += 1;
        let newest = self.newest.clone().unwrap_or_default();
        device::Attach {
            cluster_id: newest.cluster_id,
            newest_epoch: newest.epoch,
            resume_token: newest.resume_token,
            running: self.running.iter().map(|(_, call)| call.token.clone()).collect(),
            gone: self.past.clone(),
            lists_all: alone,
            ..attach("d", 7, self.attaches, profile(64))
        }
    }
}

/// A scenario under way.
struct Scene {
    cluster: Cluster,
    known: Arc<Mutex<Known>>,
    links: Vec<Link>,
    held_back: Option<u64>,
    registrations: u64,
    calls: Vec<(String, JoinHandle<Result<Reply, Failure>>)>,
}

impl Scene {
    async fn begin() -> Self {
        let cluster = Cluster::with(2, |config| config.resume_window = Duration::from_millis(500)).await;
        let known = Arc::default();
        Self { cluster, known, links: Vec::new(), held_back: None, registrations: 1, calls: Vec::new() }
    }

    async fn play(&mut self, step: Step) {
        match step {
            Step::Call { node, named, at_once } => self.call(node, named, at_once),
            Step::Move(node) => self.attach(node).await,
            Step::Lose => self.lose().await,
            Step::Answer => self.answer(),
            Step::HoldBack(node) if self.held_back.is_none() => {
                self.cluster.log.hold_back(node as usize - 1);
                self.held_back = Some(node);
            }
            Step::CatchUp => self.catch_up(),
            Step::Lapse(node) if self.held_back.is_none() => {
                self.registrations += 1;
                self.cluster.down(node);
                self.cluster.up(node, self.registrations);
            }
            Step::Pause(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Step::HoldBack(_) | Step::Lapse(_) => {}
        }
    }

    fn call(&mut self, node: u64, named: bool, at_once: bool) {
        let request_id = format!("r-{}", self.calls.len());
        let call = if named { call_to("d") } else { call() };
        let deadline = call.arrived + Duration::from_secs(3);
        let payload = Bytes::from_static(if at_once { AT_ONCE } else { b"later" });
        let call = Call { request_id: request_id.as_str().into(), deadline, payload, ..call };
        let router = self.cluster.router(node).clone();
        self.calls.push((request_id, tokio::spawn(async move { router.invoke(call).await })));
    }

    /// A node without the log cannot open a session.
    async fn attach(&mut self, node: u64) {
        if self.held_back == Some(node) {
            return;
        }
        self.links.retain(|link| !link.task.is_finished());
        let attach = self.known.lock().attach(self.links.is_empty());
        let number = attach.attach_number;
        let mut agent = Agent::connect(self.cluster.router(node)).await;
        let _ = agent.say(1, Up::Attach(attach)).await;
        let Down::Attached(attached) = agent.next().await else { return };
        let (epoch, takes_replays) = (attached.epoch, attached.resumed || attached.replay);
        self.known.lock().attached(attached);
        let (answers, orders) = mpsc::unbounded_channel();
        let task = tokio::spawn(serve(agent, (number, epoch), Arc::clone(&self.known), orders));
        self.links.push(Link { number, answers, takes_replays, task });
    }

    async fn lose(&mut self) {
        if let Some(link) = self.links.pop() {
            drop(link.answers);
            link.task.await.expect("no panic");
        }
    }

    /// By the connections that the calls came by, or by their tokens on the newest one.
    fn answer(&mut self) {
        let running = self.known.lock().running.clone();
        for (came_by, call) in running {
            let own = self.links.iter().find(|link| link.number == came_by && !link.task.is_finished());
            let newest = self.links.last().filter(|link| link.takes_replays);
            let sent = match (own, newest) {
                (Some(own), _) => own.answers.send(call),
                (None, Some(newest)) => newest.answers.send(device::Call { tag: 0, ..call }),
                (None, None) => continue,
            };
            drop(sent);
        }
    }

    fn catch_up(&mut self) {
        if let Some(node) = self.held_back.take() {
            self.cluster.log.catch_up(node as usize - 1);
        }
    }

    /// Lets everything end, and looks at what was promised.
    async fn end(mut self) -> Result<(), String> {
        self.catch_up();
        self.attach(1).await;
        while self.calls.iter().any(|(_, call)| !call.is_finished()) {
            self.answer();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for (request_id, call) in self.calls {
            let ended = call.await.expect("no panic");
            let executed = self.known.lock().executed.get(&request_id).copied().unwrap_or_default();
            let honest = match &ended {
                Ok(_) => executed == 1,
                Err(failure) if failure.outcome == Outcome::NotExecuted => executed == 0,
                Err(failure) if failure.outcome == Outcome::Executed => executed == 1,
                Err(_) => executed <= 1,
            };
            if !honest {
                return Err(format!("{request_id} was executed {executed} times, and ended as {ended:?}"));
            }
        }
        if let Some(broken) = self.known.lock().broken.first() {
            return Err(broken.clone());
        }
        for node in 1..=2 {
            let router = self.cluster.router(node);
            wait_until("no call is in flight", || router.calls_in_flight() == 0).await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_call_ends_once_and_honestly_and_runs_once_at_most() {
    // The same scenarios each time.
    let mut runner = TestRunner::deterministic();
    for _ in 0..SCENARIOS {
        let steps = prop::collection::vec(step(), 5..60).new_tree(&mut runner).expect("steps").current();
        let mut scene = Scene::begin().await;
        for step in &steps {
            scene.play(*step).await;
        }
        if let Err(broken) = scene.end().await {
            panic!("{broken}\nafter {steps:#?}");
        }
    }
}
