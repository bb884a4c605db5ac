//! Three nodes whose faults can be switched, devices without protections of their own, and a journal.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use anyhow::{bail, ensure};
use bytes::Bytes;
use rollcall_proto::api::InvokeRequest;
use rollcall_registry::faults::Switch;
use tokio::task::JoinHandle;

use super::Planted;
use crate::{
    Cluster, ClusterPlan, HEAL_PATIENCE, Node, PlainDevice, RawProfile, SPREAD_PATIENCE, call,
    history::Journal,
    invariants::{self, Seen, Violation},
    rows::Bite,
    stage::{caller_ending, pending_tables},
    wait_until,
};

/// The group of all devices on the scene.
const GROUP: &str = "planted";
/// What devices of [`RawProfile`] take at once.
const CAPACITY: usize = 1;
/// How often a story is told until its fault bites.
const TRIES: u32 = 3;

/// Where stories are told.
#[derive(Debug)]
pub struct Scene {
    /// The nodes.
    pub cluster: Cluster,
    /// What is recorded of this telling.
    pub journal: Arc<Journal>,
    planted: Vec<Switch>,
    tellings: u32,
    calls: AtomicU32,
}

impl Scene {
    /// Starts a cluster in which nothing is switched.
    ///
    /// # Errors
    /// It does not start.
    pub async fn set() -> anyhow::Result<Self> {
        let plan = ClusterPlan::of(3).with_faults().flag("heartbeat-interval", "1s");
        let (cluster, journal) = (plan.start().await?, Arc::default());
        Ok(Self { cluster, journal, planted: Vec::new(), tellings: 0, calls: AtomicU32::new(0) })
    }

    /// Tells a story, with its bug or without, until its fault bites: what is broken.
    ///
    /// # Errors
    /// It never bites; the harness' own trouble.
    pub async fn tell(&mut self, bug: &Planted, planted: &[Switch]) -> anyhow::Result<Vec<Violation>> {
        let mut last = String::new();
        for _ in 0..TRIES {
            self.tellings += 1;
            (self.journal, self.planted) = (Arc::default(), planted.to_vec());
            self.cluster.switch(planted).await?;
            self.cluster.settled(HEAL_PATIENCE).await?;
            let outcome = (bug.play)(self).await?;
            match outcome.bite {
                Bite::Inconclusive(why) if outcome.violations.is_empty() => last = why,
                Bite::Bit | Bite::Inconclusive(_) => return Ok(outcome.violations),
            }
        }
        bail!("{}: the fault never bit; the last time: {last}", bug.bug)
    }

    /// Switches these faults on at one node, beside the bug.
    ///
    /// # Errors
    /// It does not hear of it.
    pub async fn fault(&self, node: &Node, faults: &[Switch]) -> anyhow::Result<()> {
        node.switch(&[&self.planted, faults].concat()).await
    }

    /// A device, by another process of it at each time.
    pub fn profile(&self) -> RawProfile {
        RawProfile::new(&self.device_id(), GROUP)
    }

    /// The id of this telling's device.
    pub fn device_id(&self) -> String {
        format!("device-{}", self.tellings)
    }

    /// Attaches this telling's device to a node.
    ///
    /// # Errors
    /// It is refused.
    pub async fn attach(&self, node: &Node) -> anyhow::Result<PlainDevice> {
        PlainDevice::attach(node, &self.profile(), &self.journal).await
    }

    /// A call to this telling's device that takes so many milliseconds, under a name of its own.
    pub fn request(&self, length_ms: u32) -> InvokeRequest {
        let number = self.calls.fetch_add(1, Relaxed);
        InvokeRequest {
            device_id: self.device_id(),
            request_id: format!("call-{}-{number}", self.tellings),
            payload: Bytes::from(length_ms.to_string()),
            timeout: Some(prost_types::Duration { seconds: 10, nanos: 0 }),
            ..call(GROUP, "echo")
        }
    }

    /// Sends a call through a node, and writes its end into the journal when it comes.
    ///
    /// # Errors
    /// The node's address is malformed.
    pub fn send(&self, through: &Node, request: InvokeRequest) -> anyhow::Result<JoinHandle<()>> {
        let (api, journal) = (through.api()?, self.journal.clone());
        let open = journal.sent(&request.request_id, &request.device_id, &through.name, request.idempotent);
        Ok(tokio::spawn(async move { journal.ended(open, caller_ending(api.call(request).await)) }))
    }

    /// Asks a node's own replica for this telling's device, and notes what it says.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn read(&self, node: &Node) -> anyhow::Result<Option<u64>> {
        let from = self.journal.now();
        let session = node.api()?.device(&self.device_id()).await?.session;
        let epoch = session.map(|session| session.epoch);
        self.journal.read(&node.name, &self.device_id(), from, epoch);
        Ok(epoch)
    }

    /// Waits until a call runs.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn runs(&self, request_id: &str) -> anyhow::Result<()> {
        wait_until(&format!("{request_id} runs"), SPREAD_PATIENCE, async || {
            let executions = self.journal.executions();
            ensure!(executions.iter().any(|execution| execution.request_id == request_id));
            Ok(())
        })
        .await
    }

    /// Ends all faults but the bug, lets everything heal, and asks the invariants.
    ///
    /// # Errors
    /// It does not heal.
    pub async fn judge(&self) -> anyhow::Result<Vec<Violation>> {
        self.cluster.switch(&self.planted).await?;
        self.cluster.settled(HEAL_PATIENCE).await?;
        self.cluster.caught_up(HEAL_PATIENCE).await?;
        let mut found = invariants::of_history(&self.journal, CAPACITY);
        found.extend(pending_tables(&self.cluster).await);
        Ok(found)
    }

    /// What each replica says of this telling's device, which was told this epoch last and is still connected.
    ///
    /// # Errors
    /// A node does not answer.
    pub async fn seen(&self, told: u64) -> anyhow::Result<Vec<Seen>> {
        let mut seen = Vec::new();
        for node in self.cluster.running() {
            let session = node.api()?.device(&self.device_id()).await?.session;
            let (by, row) = (node.name.clone(), session.map(|session| session.epoch));
            seen.push(Seen { by, device_id: self.device_id(), told: Some(told), row });
        }
        Ok(seen)
    }
}
