//! Session changes through the batcher: three registries in processes of their own, driven from inside.

use std::{net::TcpListener, time::Instant};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use rollcall_cluster_tests::Scratch;
use serde_json::Value;

use crate::{children::Helper, limits::FOUNDERS};

/// Three registries.
pub(crate) struct Registries {
    nodes: Vec<Helper>,
    peers: Vec<String>,
    scratch: Scratch,
}

impl Registries {
    /// Starts them, and waits until they are one cluster.
    ///
    /// # Errors
    /// They are not.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let scratch = Scratch::new("bench-registry")?;
        // One more, for a newcomer.
        let reserved: Vec<TcpListener> =
            (0..=FOUNDERS).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
        let peers: Vec<String> = reserved
            .iter()
            .map(|listener| listener.local_addr().map(|addr| addr.to_string()))
            .collect::<Result<_, _>>()?;
        drop(reserved);
        let mut registries = Self { nodes: Vec::new(), peers, scratch };
        for _ in 0..FOUNDERS {
            registries.add()?;
        }
        for node in &mut registries.nodes {
            node.expect("joined").await?;
        }
        Ok(registries)
    }

    /// Starts the next node.
    fn add(&mut self) -> anyhow::Result<&mut Helper> {
        let number = self.nodes.len();
        let folder = self.scratch.path().join(format!("n{}", number + 1));
        let mut arguments = vec!["registry-node".to_owned(), number.to_string()];
        arguments.push(folder.display().to_string());
        arguments.extend(self.peers.iter().cloned());
        self.nodes.push(Helper::start(&arguments)?);
        self.nodes.last_mut().context("no node")
    }

    /// Opens so many sessions, spread over all nodes; how many a second.
    ///
    /// # Errors
    /// A session could not be opened.
    pub(crate) async fn fill(&mut self, sessions: u64) -> anyhow::Result<f64> {
        let (each, begun) = (sessions / self.nodes.len() as u64, Instant::now());
        self.tell_all(&format!("fill {each}")).await?;
        Ok(sessions as f64 / begun.elapsed().as_secs_f64())
    }

    /// Has every node make a snapshot; how many seconds that takes, all at the same time.
    ///
    /// # Errors
    /// A node cannot.
    pub(crate) async fn snapshot(&mut self) -> anyhow::Result<f64> {
        let begun = Instant::now();
        self.tell_all("snapshot").await?;
        Ok(begun.elapsed().as_secs_f64())
    }

    /// How many seconds after its start a node with an empty folder is registered and has at least so many sessions.
    ///
    /// # Errors
    /// It does not join.
    pub(crate) async fn newcomer(&mut self, sessions: u64) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let node = self.add()?;
        node.expect("joined").await?;
        node.say("sessions").await?;
        let said: Value = serde_json::from_str(&node.hear().await?)?;
        let has = said["sessions"].as_u64().context("no sessions")?;
        ensure!(has >= sessions, "a node that has joined has {has} of {sessions} sessions");
        Ok(begun.elapsed().as_secs_f64())
    }

    /// Changes per second of the whole cluster with so many outstanding altogether.
    ///
    /// # Errors
    /// A change failed.
    pub(crate) async fn rate(&mut self, outstanding: usize, millis: u128) -> anyhow::Result<f64> {
        let each = outstanding / self.nodes.len();
        let answers = self.tell_all(&format!("closed {each} {millis}")).await?;
        let rates: Option<Vec<f64>> = answers.iter().map(|answer| answer["rate"].as_f64()).collect();
        Ok(rates.context("no rate")?.iter().sum())
    }

    /// The median over nodes of p50, and the worst node's p99, in microseconds, at so many changes a second altogether.
    ///
    /// # Errors
    /// A change failed.
    pub(crate) async fn latency(&mut self, rate: usize, millis: u128) -> anyhow::Result<(f64, f64)> {
        let each = rate.div_ceil(self.nodes.len());
        let answers = self.tell_all(&format!("open {each} {millis}")).await?;
        let figure = |name: &str| -> anyhow::Result<Vec<f64>> {
            answers.iter().map(|answer| answer[name].as_f64().context("no latency")).collect()
        };
        let mut p50 = figure("p50")?;
        p50.sort_by(f64::total_cmp);
        Ok((p50[p50.len() / 2], figure("p99")?.into_iter().fold(0.0, f64::max)))
    }

    /// Resident memory and bytes on disk of all nodes together.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn footprint(&self) -> anyhow::Result<(u64, u64)> {
        let resident = self.nodes.iter().filter_map(Helper::pid).map(resident_bytes).sum();
        Ok((resident, folder_bytes(self.scratch.path())?))
    }

    /// Stops them and removes their data.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) async fn finish(self) -> anyhow::Result<()> {
        for node in self.nodes {
            node.kill().await?;
        }
        self.scratch.discard()
    }

    async fn tell_all(&mut self, command: &str) -> anyhow::Result<Vec<Value>> {
        let asked = self.nodes.iter_mut().map(async |node| {
            node.say(command).await?;
            anyhow::Ok(serde_json::from_str::<Value>(&node.hear().await?)?)
        });
        try_join_all(asked).await
    }
}

fn resident_bytes(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn folder_bytes(folder: &std::path::Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        // A log file may be purged while it is looked at.
        let Ok(metadata) = item.metadata() else { continue };
        bytes += if metadata.is_dir() { folder_bytes(&item.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
