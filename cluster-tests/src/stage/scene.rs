//! One cluster that many runs use, one after another; each gets new devices and a new journal.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use rand::{SeedableRng, rngs::StdRng, seq::IteratorRandom};
use rollcall_agent::AgentState;
use rollcall_proto::api::InvokeRequest;
use tokio::task::JoinHandle;

use super::{Ground, Load, LoadPlan};
use crate::{
    Cluster, FORM_PATIENCE, HEAL_PATIENCE, Lab, LabDevice, Network, Node, SPREAD_PATIENCE, Scratch,
    SmallDisk, call, history::Journal, wait_until,
};

/// The group of all devices on stage.
pub const GROUP: &str = "stage";
const DEVICES_A_NODE: usize = 2;
/// The node whose disk is small, where one is.
const SMALL: &str = "n3";
const SMALL_MEBIBYTES: u32 = 64;
pub(super) const CAPACITY: u32 = 8;

/// A healed cluster, devices on each node, and the journal of the run that plays now.
#[derive(Debug)]
pub struct Stage {
    /// The nodes.
    pub cluster: Cluster,
    /// The devices; they begin `DEVICES_A_NODE` on each node and may move to any.
    pub devices: Vec<LabDevice>,
    /// What is recorded of this run.
    pub journal: Arc<Journal>,
    /// Draws what a row leaves to chance; follows from the seed.
    pub rng: StdRng,
    ground: Ground,
    run: u32,
    disk: Option<(SmallDisk, Scratch)>,
}

impl Stage {
    /// Starts a cluster; nothing where the ground is not permitted.
    ///
    /// # Errors
    /// It does not start.
    pub async fn set(ground: Ground, seed: u64) -> anyhow::Result<Option<Self>> {
        let disk = if ground == Ground::SmallDisk { small_disk()? } else { None };
        if ground == Ground::SmallDisk && disk.is_none() {
            return Ok(None);
        }
        let mut plan = ground.plan();
        if let Some((_, scratch)) = &disk {
            plan = plan.data_dir(SMALL, &scratch.path().join("small").join(SMALL));
        }
        let cluster = plan.prepare().await?;
        if ground.has_network() && cluster.network().is_none() {
            cluster.finish().await?;
            return Ok(None);
        }
        cluster.nodes.iter().try_for_each(|node| node.start_with(ground.flags_at_start()))?;
        cluster.settled(FORM_PATIENCE).await?;
        let (journal, rng) = (Arc::default(), StdRng::seed_from_u64(seed));
        Ok(Some(Self { cluster, devices: Vec::new(), journal, rng, ground, run: 0, disk }))
    }

    /// The node whose disk is small, and that disk.
    ///
    /// # Errors
    /// There is none: the row's ground is not [`Ground::SmallDisk`].
    pub fn small_disk(&self) -> anyhow::Result<(Arc<Node>, &SmallDisk)> {
        let (disk, _) = self.disk.as_ref().context("no node has a small disk")?;
        Ok((self.cluster.node(SMALL)?, disk))
    }

    /// The ground that it stands on.
    pub fn ground(&self) -> Ground {
        self.ground
    }

    /// Begins a run: new devices, a new journal, and chance from this seed.
    ///
    /// # Errors
    /// The cluster has not healed from the run before.
    pub async fn begin(&mut self, seed: u64) -> anyhow::Result<()> {
        self.run += 1;
        (self.rng, self.journal) = (StdRng::seed_from_u64(seed), Arc::default());
        join_all(self.devices.drain(..).map(LabDevice::shutdown)).await;
        self.cluster.settled(HEAL_PATIENCE).await?;
        let urls = self.cluster.device_urls();
        let places = (0..urls.len()).flat_map(|node| (0..DEVICES_A_NODE).map(move |number| (node, number)));
        let attaching = places.map(|(node, number)| {
            let mut servers = urls.clone();
            servers.rotate_left(node);
            let name = format!("run{}-n{}-{number}", self.run, node + 1);
            let lab = Lab::new(&name, GROUP).capacity(CAPACITY).journal(&self.journal);
            async move { lab.attach(&servers).await }
        });
        self.devices = try_join_all(attaching).await?;
        self.cluster.caught_up(SPREAD_PATIENCE).await
    }

    /// The devices whose agents say that this node holds them.
    pub fn devices_on(&self, node: &str) -> Vec<&LabDevice> {
        let held = |device: &&LabDevice| matches!(device.state(), AgentState::Attached { node: at, .. } if at == node);
        self.devices.iter().filter(held).collect()
    }

    /// The names of all devices but those that this node holds.
    pub fn devices_not_on(&self, node: &str) -> Vec<String> {
        let on: Vec<_> = self.devices_on(node).iter().map(|device| device.device_id.clone()).collect();
        let names = self.devices.iter().map(|device| device.device_id.clone());
        names.filter(|name| !on.contains(name)).collect()
    }

    /// A running node that does not lead, drawn.
    ///
    /// # Errors
    /// There is no leader, or nobody follows.
    pub async fn follower(&mut self) -> anyhow::Result<Arc<Node>> {
        let leader = self.cluster.leader(HEAL_PATIENCE).await?;
        let followers = self.cluster.running().into_iter().filter(|node| node.name != leader.name);
        followers.choose(&mut self.rng).context("nobody follows")
    }

    /// The running nodes but this one.
    pub fn others(&self, node: &Node) -> Vec<Arc<Node>> {
        self.cluster.running().into_iter().filter(|other| other.name != node.name).collect()
    }

    /// The network of the nodes.
    ///
    /// # Errors
    /// They have none: the row's ground is not [`Ground::OwnNetwork`].
    pub fn network(&self) -> anyhow::Result<&Network> {
        self.cluster.network().context("the nodes have no network of their own")
    }

    /// The address of each node.
    pub fn addresses(nodes: &[Arc<Node>]) -> Vec<Ipv4Addr> {
        nodes.iter().map(|node| node.addresses.host).collect()
    }

    /// Where devices reach a node, for a proxy before it.
    pub fn device_socket(node: &Node) -> SocketAddrV4 {
        SocketAddrV4::new(node.addresses.host, node.addresses.device)
    }

    /// Starts callers, and waits until calls are answered through each of their nodes.
    ///
    /// # Errors
    /// They are not in time.
    pub async fn load(&self, plan: LoadPlan) -> anyhow::Result<Load> {
        Load::start(plan, self.journal.clone(), self.run)?.warmed_up().await
    }

    /// Calls that take so long, one to each of these devices, sent now through a node; waits until their handlers run.
    ///
    /// # Errors
    /// They do not run in time.
    pub async fn naps(
        &self,
        through: &Node,
        devices: &[String],
        length: Duration,
    ) -> anyhow::Result<Vec<JoinHandle<()>>> {
        let mut naps = Vec::new();
        for (number, device) in devices.iter().enumerate() {
            let request_id = format!("nap-{}-{}-{number}-{device}", self.run, through.name);
            naps.push(self.send(through, nap(device, request_id, length))?);
        }
        wait_until("the naps run", SPREAD_PATIENCE, async || {
            let executions = self.journal.executions();
            for device in devices {
                let runs = executions.iter().any(|execution| {
                    execution.request_id.starts_with("nap-")
                        && execution.device_id == *device
                        && execution.ended_at.is_none()
                });
                ensure!(runs, "{device} does not nap");
            }
            Ok(())
        })
        .await?;
        Ok(naps)
    }

    /// Sends a call through a node, and writes its end into the journal when it comes.
    ///
    /// # Errors
    /// The node's address is malformed.
    pub fn send(&self, through: &Node, request: InvokeRequest) -> anyhow::Result<JoinHandle<()>> {
        let (api, journal) = (through.api()?, self.journal.clone());
        let open = journal.sent(&request.request_id, &request.device_id, &through.name, request.idempotent);
        Ok(tokio::spawn(async move {
            let ending = super::load::ending(api.call(request).await);
            journal.ended(open, ending);
        }))
    }

    /// Waits until the cluster has settled, its replicas are level and all devices are attached.
    ///
    /// # Errors
    /// Not in time.
    pub async fn healed(&self) -> anyhow::Result<()> {
        self.cluster.settled(HEAL_PATIENCE).await?;
        for device in &self.devices {
            device.attached(HEAL_PATIENCE).await?;
        }
        self.cluster.caught_up(HEAL_PATIENCE).await
    }

    /// How long after `since` each of these devices was told of its next session.
    pub fn back_after(&self, devices: &[String], since: Duration) -> Vec<Duration> {
        let owners = self.journal.owners();
        let back = |device: &String| {
            let told = owners.iter().filter(|record| record.device_id == *device && record.to > since);
            told.filter(|record| matches!(record.sight, crate::history::Sight::Opened(_)))
                .map(|record| record.to.saturating_sub(since))
                .min()
        };
        devices.iter().filter_map(back).collect()
    }

    /// The run is over for good: ends the cluster and removes its data.
    ///
    /// # Errors
    /// A node was not well.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        join_all(self.devices.drain(..).map(LabDevice::shutdown)).await;
        self.cluster.finish().await?;
        match self.disk {
            Some((disk, scratch)) => {
                drop(disk);
                scratch.discard()
            }
            None => Ok(()),
        }
    }
}

/// A disk of a few MiB in a folder of its own; nothing where that is not permitted.
fn small_disk() -> anyhow::Result<Option<(SmallDisk, Scratch)>> {
    let scratch = Scratch::new("disk")?;
    match SmallDisk::mount(&scratch.path().join("small"), SMALL_MEBIBYTES)? {
        Some(disk) => Ok(Some((disk, scratch))),
        None => scratch.discard().map(|()| None),
    }
}

/// A call to a device on stage that takes so long.
pub fn nap(device: &str, request_id: String, length: Duration) -> InvokeRequest {
    InvokeRequest {
        device_id: device.to_owned(),
        request_id,
        payload: Bytes::from(length.as_millis().to_string()),
        timeout: Some(prost_types::Duration { seconds: 20, nanos: 0 }),
        ..call(GROUP, "sleep")
    }
}
