//! A cluster under test: its nodes, and what must be true of it as a whole.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rollcall_agent::Access;
use rollcall_proto::api::{NodeRole, NodeState};
use rollcall_registry::faults::Switch;

use crate::{
    Addresses, Binaries, Certificates, ClusterPlan, Network, Node, Scratch, binaries,
    binaries::binaries_with_faults, faults::FaultFile, node::NodePlan, ports::PortBlock, turn::Turn,
    wait::wait_until,
};

/// What the nodes log, as `--log-level` takes it: `CLUSTER_TESTS_LOG=info,rollcall_registry=debug cargo test …`.
const LOG_VARIABLE: &str = "CLUSTER_TESTS_LOG";

/// The rules of a secured cluster whose plan has none.
const ANYBODY_ANYTHING: &str = r#"
[[roles]]
name = "anybody"
members = ["anyone"]
allow = [{ may = ["invoke", "read", "watch", "administer", "attach"], namespaces = ["*"], groups = ["*"], actions = ["*"], devices = ["*"] }]
"#;

/// Real nodes on this machine; killed when dropped, their logs and data kept unless [`Cluster::finish`] was reached.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes, in the order of their making.
    pub nodes: Vec<Arc<Node>>,
    scratch: Scratch,
    ports: PortBlock,
    plan: ClusterPlan,
    binaries: Binaries,
    network: Option<Network>,
    certificates: Option<Certificates>,
    /// How often a node was given other addresses; each takes a place of its own.
    moves: u16,
    _turn: Option<Turn>,
}

impl Cluster {
    /// Starts a cluster with default settings and waits until it is ready.
    ///
    /// # Errors
    /// See [`ClusterPlan::start`].
    pub async fn start(founders: u16) -> anyhow::Result<Self> {
        ClusterPlan::of(founders).start().await
    }

    pub(crate) async fn prepare(plan: ClusterPlan) -> anyhow::Result<Self> {
        let binaries =
            if plan.has_faults { binaries_with_faults().await? } else { binaries().await? }.clone();
        let turn = if plan.beside_another { None } else { Some(Turn::take().await?) };
        let scratch = Scratch::new("cluster")?;
        let certificates = match plan.is_secured {
            true => Some(Certificates::make(&scratch.folder("certificates")?, &[], &["harness"]).await?),
            false => None,
        };
        let mut cluster = Self {
            nodes: Vec::new(),
            scratch,
            certificates,
            ports: PortBlock::claim()?,
            network: if plan.own_network { Network::open()? } else { None },
            plan,
            binaries,
            moves: 0,
            _turn: turn,
        };
        if let Some(certificates) = &cluster.certificates {
            let names: Vec<String> = (1..=9).map(|number| format!("n{number}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            certificates.renew(&names, &[], 30).await?;
            cluster.write_rules()?;
        }
        for _ in 0..cluster.plan.founders {
            cluster.add_node()?;
        }
        Ok(cluster)
    }

    /// Makes one more node, and does not start it. Beyond the founders it only joins.
    ///
    /// # Errors
    /// No port, no disk.
    pub fn add_node(&mut self) -> anyhow::Result<Arc<Node>> {
        let number = u16::try_from(self.nodes.len())?;
        let name = format!("n{}", number + 1);
        let mut addresses = Addresses::of_node(&self.ports, number)?;
        let host = self.network.as_mut().map(Network::add_host).transpose()?;
        if let Some(host) = &host {
            addresses.host = host.address;
        }
        let mut flags = self.flags(number, &name)?;
        if self.plan.is_advertised {
            let Addresses { host, device, .. } = addresses;
            flags.extend(["--advertise-device-addr".to_owned(), format!("{host}:{device}")]);
        }
        let node = Node::new(
            NodePlan {
                name: &name,
                addresses,
                data_dir: self.data_dir(&name)?,
                flags,
                access: self.access()?,
                logs: self.scratch.folder("logs")?,
                namespace: host.map(|host| host.namespace),
                faults: self.faults(&name)?,
            },
            &self.binaries,
        );
        let node = Arc::new(node);
        self.nodes.push(node.clone());
        Ok(node)
    }

    /// Gives a stopped node other addresses, and does not start it. Its peers know it by its name and its disk.
    ///
    /// # Errors
    /// There is no such node, it runs, or there is no port.
    pub fn move_node(&mut self, name: &str) -> anyhow::Result<Arc<Node>> {
        let at = self
            .nodes
            .iter()
            .position(|node| node.name == name)
            .with_context(|| format!("no node {name:?}"))?;
        ensure!(!self.nodes[at].is_running(), "{name} still runs");
        self.moves += 1;
        let place = u16::try_from(self.nodes.len())? + self.moves;
        let host = self.nodes[at].addresses.host;
        let addresses = Addresses { host, ..Addresses::of_node(&self.ports, place)? };
        let moved = Arc::new(self.nodes[at].moved_to(addresses));
        self.nodes[at] = moved.clone();
        Ok(moved)
    }

    fn data_dir(&self, name: &str) -> anyhow::Result<std::path::PathBuf> {
        let planned = self.plan.data_dirs.iter().find(|(node, _)| node == name);
        match planned {
            Some((_, folder)) => Ok(folder.clone()),
            None => self.scratch.folder("data").map(|folder| folder.join(name)),
        }
    }

    fn write_rules(&self) -> anyhow::Result<()> {
        let write = |name: &str, text: &str| std::fs::write(self.scratch.path().join(name), text);
        if self.plan.access.is_empty() {
            write("access.toml", ANYBODY_ANYTHING)?;
        }
        Ok(self.plan.access.iter().try_for_each(|(name, text)| write(name, text))?)
    }

    fn faults(&self, name: &str) -> anyhow::Result<Option<FaultFile>> {
        let file = || anyhow::Ok(FaultFile::new(self.scratch.folder("faults")?.join(name)));
        self.plan.has_faults.then(file).transpose()
    }

    /// How the harness comes in; `None`: everything is plain.
    fn access(&self) -> anyhow::Result<Option<Access>> {
        self.certificates.as_ref().map(|certificates| certificates.access(Some("harness"))).transpose()
    }

    /// The certificates of a secured cluster.
    ///
    /// # Errors
    /// It has none.
    pub fn certificates(&self) -> anyhow::Result<&Certificates> {
        self.certificates.as_ref().context("the cluster is not secured")
    }

    fn flags(&self, number: u16, name: &str) -> anyhow::Result<Vec<String>> {
        let mut flags = match &self.certificates {
            Some(certificates) => {
                let rules = self.scratch.path().join("access.toml").display().to_string();
                [certificates.flags(name), vec!["--access".to_owned(), rules]].concat()
            }
            None => vec!["--insecure".to_owned()],
        };
        flags.extend(["--join".to_owned(), self.founders()?]);
        if number < self.plan.founders {
            flags.extend(["--bootstrap-expect".to_owned(), self.plan.founders.to_string()]);
        }
        if let Ok(level) = std::env::var(LOG_VARIABLE) {
            flags.extend(["--log-level".to_owned(), level]);
        }
        flags.extend(self.plan.flags.iter().cloned());
        Ok(flags)
    }

    /// The peer addresses of all founders, as `--join` takes them.
    ///
    /// # Errors
    /// No port.
    pub fn founders(&self) -> anyhow::Result<String> {
        let addresses = (0..self.plan.founders).map(|number| Addresses::of_node(&self.ports, number));
        let host = |number| match &self.network {
            Some(network) => network.address_of(number),
            None => Ipv4Addr::LOCALHOST,
        };
        let peers: Vec<_> = addresses
            .zip(0..)
            .map(|(one, number)| one.map(|one| format!("{}:{}", host(number), one.peer)))
            .collect::<Result<_, _>>()?;
        Ok(peers.join(","))
    }

    /// Switches exactly these faults on, on all nodes.
    ///
    /// # Errors
    /// See [`Node::switch`].
    pub async fn switch(&self, on: &[Switch]) -> anyhow::Result<()> {
        for node in &self.nodes {
            node.switch(on).await?;
        }
        Ok(())
    }

    /// A node by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn node(&self, name: &str) -> anyhow::Result<Arc<Node>> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.cloned().with_context(|| format!("there is no node {name:?}"))
    }

    /// The nodes whose processes run.
    pub fn running(&self) -> Vec<Arc<Node>> {
        self.nodes.iter().filter(|node| node.is_running()).cloned().collect()
    }

    /// Where devices reach the nodes, all of them.
    pub fn device_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.device_url()).collect()
    }

    /// The network of the nodes. Absent: they share this machine's, because the plan says so or nothing else is
    /// permitted here.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// The folder of this cluster.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Waits until the running nodes agree on a leader that is one of them, and gives it.
    ///
    /// # Errors
    /// They do not in time.
    pub async fn leader(&self, patience: Duration) -> anyhow::Result<Arc<Node>> {
        let name =
            wait_until("the nodes agree on a leader", patience, async || self.agreed_leader().await).await?;
        self.node(&name)
    }

    /// Two running nodes that do not lead, and the one that does.
    ///
    /// # Errors
    /// There is no leader, or there are fewer nodes.
    pub async fn leader_and_two_others(&self) -> anyhow::Result<(Arc<Node>, Arc<Node>, Arc<Node>)> {
        let leader = self.leader(crate::HEAL_PATIENCE).await?;
        let mut others = self.running().into_iter().filter(|node| node.name != leader.name);
        let (one, two) = (others.next(), others.next());
        Ok((leader, one.context("no follower runs")?, two.context("only one follower runs")?))
    }

    async fn agreed_leader(&self) -> anyhow::Result<String> {
        let mut seen = BTreeSet::new();
        for node in self.running() {
            let cluster = node.api()?.cluster().await?;
            ensure!(cluster.has_quorum, "{} knows of no quorum: {cluster:?}", node.name);
            seen.insert(cluster.leader);
        }
        ensure!(seen.len() == 1, "they name {seen:?}");
        let leader = seen.pop_first().unwrap_or_default();
        ensure!(self.node(&leader)?.is_running(), "{leader} does not run");
        Ok(leader)
    }

    /// Waits until every running node is ready, they agree on a leader, and each sees exactly the running ones up.
    ///
    /// # Errors
    /// They do not in time; a node has ended.
    pub async fn settled(&self, patience: Duration) -> anyhow::Result<()> {
        wait_until("the cluster has settled", patience, async || {
            self.agreed_leader().await?;
            for node in self.running() {
                let (status, body) = node.get("/readyz").await?;
                ensure!(status == 200, "{} is not ready: {status} {body}", node.name);
                self.seen_up_from(&node).await?;
            }
            Ok(())
        })
        .await
        .map_err(|late| match self.check_health() {
            Ok(()) => late,
            Err(sick) => sick.context(late),
        })
    }

    async fn seen_up_from(&self, node: &Node) -> anyhow::Result<()> {
        let nodes = node.api()?.nodes().await?;
        let up = nodes.iter().filter(|node| node.state() == NodeState::Up).map(|node| node.name.clone());
        let up: BTreeSet<_> = up.collect();
        let running: BTreeSet<_> = self.running().iter().map(|node| node.name.clone()).collect();
        ensure!(up == running, "{} sees {up:?} up while {running:?} run", node.name);
        let leaders = nodes.iter().filter(|node| node.role() == NodeRole::Leader).count();
        ensure!(leaders == 1, "{} sees {leaders} leaders", node.name);
        Ok(())
    }

    /// Waits until all running nodes have applied what any of them has applied when this is called.
    ///
    /// # Errors
    /// They do not in time.
    pub async fn caught_up(&self, patience: Duration) -> anyhow::Result<()> {
        let mut furthest = 0;
        for node in self.running() {
            furthest = furthest.max(node.api()?.cluster().await?.applied_index);
        }
        wait_until("all nodes have caught up", patience, async || {
            for node in self.running() {
                let applied = node.api()?.cluster().await?.applied_index;
                ensure!(applied >= furthest, "{} has applied {applied} of {furthest}", node.name);
            }
            Ok(())
        })
        .await
    }

    /// Fails if a node ended by itself, or panicked.
    ///
    /// # Errors
    /// Which one, with the end of its log.
    pub fn check_health(&self) -> anyhow::Result<()> {
        self.nodes.iter().try_for_each(|node| node.check_health())
    }

    /// The test has passed: checks that no node ended by itself or panicked, kills them and removes their data.
    ///
    /// # Errors
    /// A node was not well; its logs and data are kept.
    pub async fn finish(self) -> anyhow::Result<()> {
        self.check_health()?;
        for node in &self.nodes {
            if node.is_running() {
                node.kill9()?;
            }
        }
        self.scratch.discard()
    }

    /// The cluster lives in a static: its data goes when the process ends, unless a test that shares it fails.
    pub(crate) fn discard_at_exit(&self) {
        self.scratch.discard_at_exit();
    }
}
