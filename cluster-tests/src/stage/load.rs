//! Callers that never tire, and readers who ask who holds what.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::ensure;
use bytes::Bytes;
use rollcall_proto::api::{Consistency, GetDeviceRequest, InvokeRequest, InvokeResponse};
use tokio::{task::JoinSet, time::timeout};
use tonic::Status;

use super::{
    door::{Door, Doors},
    scene::GROUP,
};
use crate::{
    Api, Node, SPREAD_PATIENCE, call,
    history::{Ending, Journal, Sight},
    wait_until,
};

/// A caller's own patience, beyond what it tells the gateway: only a node that is gone makes it wait so long.
const CALLER_PATIENCE: Duration = Duration::from_secs(8);
const CALL_TIMEOUT_SECONDS: i64 = 5;
const PACE: Duration = Duration::from_millis(10);
const READ_EVERY: Duration = Duration::from_millis(25);
const READ_PATIENCE: Duration = Duration::from_secs(2);
/// One call in so many takes its time at the device.
const SLOW_ONE_IN: u64 = 4;
/// One call in so many may be repeated.
const IDEMPOTENT_ONE_IN: u64 = 3;

/// Who calls whom.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The nodes that calls enter through.
    pub through: Vec<Arc<Node>>,
    /// The devices that are called by name. An empty name calls the group.
    pub devices: Vec<String>,
    /// Callers at each door.
    pub callers: u64,
    /// What they know of the nodes.
    pub doors: Doors,
}

impl LoadPlan {
    /// Two callers at each of these nodes, to these devices.
    pub fn new(through: Vec<Arc<Node>>, devices: Vec<String>) -> Self {
        Self { through, devices, callers: 2, doors: Doors::OneNode }
    }

    /// Six callers who have all of these nodes, and call on through another when one is gone.
    #[must_use]
    pub fn by_clients(mut self) -> Self {
        (self.callers, self.doors) = (6, Doors::AnyNode);
        self
    }
}

/// Callers and readers at work. Dropped, they stop where they are, and what they waited for stays without an end.
#[derive(Debug)]
pub struct Load {
    plan: LoadPlan,
    journal: Arc<Journal>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    pub(super) fn start(plan: LoadPlan, journal: Arc<Journal>, run: u32) -> anyhow::Result<Self> {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let numbers = Arc::new(AtomicU64::new(0));
        for door in Door::of(plan.doors, &plan.through)? {
            for _ in 0..plan.callers {
                let caller = Caller {
                    door: door.clone(),
                    devices: plan.devices.clone(),
                    journal: journal.clone(),
                    run,
                    numbers: numbers.clone(),
                };
                tasks.spawn(caller.call_until(stop.clone()));
            }
        }
        for node in &plan.through {
            tasks.spawn(read_until(stop.clone(), node.api()?, plan.devices.clone(), journal.clone()));
        }
        Ok(Self { plan, journal, stop, tasks })
    }

    pub(super) async fn warmed_up(self) -> anyhow::Result<Self> {
        wait_until("calls are answered through every node", SPREAD_PATIENCE, async || {
            let calls = self.journal.calls();
            let doors = match self.plan.doors {
                Doors::OneNode => self.plan.through.iter().map(|node| node.name.as_str()).collect(),
                Doors::AnyNode => vec!["any"],
            };
            for door in doors {
                let answered = calls
                    .iter()
                    .filter(|call| call.through == door && call.ending().is_some_and(Ending::is_answer));
                ensure!(answered.count() >= 3, "few are through {door}");
            }
            Ok(())
        })
        .await?;
        Ok(self)
    }

    /// Lets every caller finish the call it waits for. Whoever does not come back leaves a call without an end.
    pub async fn stop(mut self) {
        self.stop.store(true, Relaxed);
        let _ = timeout(2 * CALLER_PATIENCE, async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

struct Caller {
    door: Door,
    devices: Vec<String>,
    journal: Arc<Journal>,
    run: u32,
    numbers: Arc<AtomicU64>,
}

impl Caller {
    async fn call_until(self, stop: Arc<AtomicBool>) {
        while !stop.load(Relaxed) {
            let number = self.numbers.fetch_add(1, Relaxed);
            let request = self.request(number);
            let open = self.journal.sent(
                &request.request_id,
                &request.device_id,
                self.door.name(),
                request.idempotent,
            );
            let ending = match timeout(CALLER_PATIENCE, self.door.call(request)).await {
                Ok(ending) => ending,
                Err(_) => Ending::Lost { why: format!("nothing for {CALLER_PATIENCE:?}") },
            };
            // A node that is gone is not asked a thousand times a second.
            let pace = if ending.is_answer() { PACE } else { 5 * PACE };
            self.journal.ended(open, ending);
            tokio::time::sleep(pace).await;
        }
    }

    fn request(&self, number: u64) -> InvokeRequest {
        let device = usize::try_from(number).unwrap_or_default() % self.devices.len().max(1);
        let slow = number.is_multiple_of(SLOW_ONE_IN);
        InvokeRequest {
            device_id: self.devices.get(device).cloned().unwrap_or_default(),
            request_id: format!("{}-{}-{number}", if slow { "slow" } else { "quick" }, self.run),
            idempotent: number.is_multiple_of(IDEMPOTENT_ONE_IN),
            payload: Bytes::from((20 + number % 180).to_string()),
            timeout: Some(prost_types::Duration { seconds: CALL_TIMEOUT_SECONDS, nanos: 0 }),
            ..call(GROUP, if slow { "sleep" } else { "echo" })
        }
    }
}

/// How a call ended, as its caller saw it.
pub(crate) fn ending(answer: Result<InvokeResponse, Status>) -> Ending {
    match answer {
        Ok(answer) => {
            Ending::Answered { device_id: answer.device_id, node: answer.node, epoch: answer.epoch }
        }
        Err(status) => Ending::of_failure(status),
    }
}

async fn read_until(stop: Arc<AtomicBool>, api: Api, devices: Vec<String>, journal: Arc<Journal>) {
    let named = devices.iter().filter(|device| !device.is_empty());
    for device in named.cycle() {
        if stop.load(Relaxed) {
            return;
        }
        let request = GetDeviceRequest {
            device_id: device.clone(),
            consistency: Consistency::Linearizable.into(),
            ..Default::default()
        };
        let (from, mut registry) = (journal.now(), api.registry.clone());
        if let Ok(Ok(answer)) = timeout(READ_PATIENCE, registry.get_device(request)).await {
            let session = answer.into_inner().device.and_then(|device| device.session);
            journal.saw(device, from, Sight::Read(session.map(|session| session.epoch)));
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}
