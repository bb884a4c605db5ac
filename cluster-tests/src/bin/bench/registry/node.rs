//! A child: one registry with its peer listener, and callers in the same process that open and close sessions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use rollcall_registry::{
    ChangeError, Registrar, Registry, RegistryConfig,
    backup::Freshness,
    model::{
        command::Addresses,
        ids::{DeviceKey, Epoch},
        profile::Profile,
    },
};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

use super::subject;
use crate::{
    children::{commands, say},
    limits::{FILL_FIRST, FILL_OUTSTANDING, FOUNDERS},
    load::{self, Caller},
};

/// Which node of which cluster.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The node's number, from 0.
    number: u64,
    /// Where its log is.
    data_dir: PathBuf,
    /// The peer addresses of all nodes, in their order.
    peers: Vec<String>,
    /// How many of them found the cluster; the others join it.
    #[arg(long, default_value_t = FOUNDERS)]
    founders: usize,
}

/// The child: joins, then does as it is told until the parent is gone.
///
/// # Errors
/// The registry's, or a change that failed.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let number = usize::try_from(options.number)?;
    let peer = options.peers.get(number).context("no such node")?.clone();
    let founds = number < options.founders;
    let registry = Registry::start(RegistryConfig {
        voters: 3,
        learner_ttl: std::time::Duration::ZERO,
        log_bounds: Default::default(),
        max_feature_level: rollcall_registry::model::feature_level::FeatureLevel::NEWEST,
        registration: Default::default(),
        connector: Default::default(),
        name: format!("n{}", options.number + 1),
        data_dir: options.data_dir.clone(),
        bootstrap_expect: if founds { options.founders } else { 0 },
        join: options.peers.iter().take(options.founders).cloned().collect(),
        advertise: Addresses { peer: peer.clone(), ..Addresses::default() },
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
    .await?;
    let incoming = TcpIncoming::from(TcpListener::bind(&peer).await?).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_routes(registry.peer_routes());
    tokio::spawn(server.serve_with_incoming(incoming));
    registry.join().await?;
    say("joined");
    let callers = Callers { registry, first: options.number << 32, profiles: subject::profiles() };
    let mut commands = commands();
    while let Some(line) = commands.next_line().await? {
        say(callers.obey(&line).await?);
    }
    Ok(())
}

struct Callers {
    registry: Registry,
    /// The number of this node's first device.
    first: u64,
    profiles: Vec<Arc<Profile>>,
}

impl Callers {
    /// `closed CALLERS MILLIS`, `open RATE MILLIS`, `fill SESSIONS`, `snapshot` or `sessions`.
    async fn obey(&self, line: &str) -> anyhow::Result<serde_json::Value> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["closed", callers, millis] => {
                let callers = (0..callers.parse()?).map(|number| self.caller(number)).collect();
                Ok(json!({ "rate": load::rate(callers, window(millis)?).await? }))
            }
            ["open", rate, millis] => {
                let pool = Pool::of((0..1_000).map(|number| self.caller(number)));
                let took = load::at_rate(pool, rate.parse()?, window(millis)?).await?;
                let percentile = |part| took.percentile_us(part);
                Ok(json!({ "p50": percentile(0.5), "p99": percentile(0.99), "changes": took.len() }))
            }
            ["fill", sessions] => {
                self.fill(sessions.parse()?).await?;
                Ok(json!({}))
            }
            ["snapshot"] => {
                let backup = self.registry.save(Freshness::Stale).await?;
                Ok(json!({ "bytes": backup.file_bytes() }))
            }
            ["sessions"] => Ok(json!({ "sessions": self.registry.routes().counts().sessions })),
            _ => bail!("{line:?} is no command"),
        }
    }

    /// Opens sessions that stay, many at a time.
    async fn fill(&self, sessions: u64) -> anyhow::Result<()> {
        let opened = futures::stream::iter(0..sessions).map(|number| async move {
            let mut caller = self.caller(FILL_FIRST + number);
            caller.call().await.map(drop)
        });
        opened.buffer_unordered(FILL_OUTSTANDING).try_collect().await
    }

    fn caller(&self, number: u64) -> SessionCaller {
        let at = usize::try_from(number).unwrap_or_default() % self.profiles.len();
        SessionCaller {
            registry: self.registry.clone(),
            device: subject::key(self.first + number),
            profile: self.profiles[at].clone(),
            instance: rand::random(),
            attach_number: 0,
            open: None,
        }
    }
}

fn window(millis: &str) -> anyhow::Result<Duration> {
    Ok(Duration::from_millis(millis.parse()?))
}

/// Opens and closes the session of one device, by turns.
struct SessionCaller {
    registry: Registry,
    device: DeviceKey,
    profile: Arc<Profile>,
    instance: u64,
    attach_number: u64,
    open: Option<Epoch>,
}

impl Caller for SessionCaller {
    async fn call(&mut self) -> anyhow::Result<u64> {
        loop {
            match self.change().await {
                Ok(()) => return Ok(1),
                // As the node's own sessions do: it was told when to come back.
                Err(ChangeError::QueueFull { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl SessionCaller {
    async fn change(&mut self) -> Result<(), ChangeError> {
        if let Some(epoch) = self.open {
            self.registry.disconnect(self.device.clone(), epoch).await?;
            self.open = None;
            return Ok(());
        }
        self.attach_number += 1;
        let open = subject::open(self.instance, self.attach_number, &self.profile);
        self.open = Some(self.registry.open(self.device.clone(), open).await?.epoch);
        Ok(())
    }
}

/// Callers that take turns: as many as are ever in flight at once.
#[derive(Clone)]
struct Pool {
    idle: Arc<parking_lot::Mutex<Vec<SessionCaller>>>,
}

impl Pool {
    fn of(callers: impl Iterator<Item = SessionCaller>) -> Self {
        Self { idle: Arc::new(parking_lot::Mutex::new(callers.collect())) }
    }
}

impl Caller for Pool {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let taken = self.idle.lock().pop();
        let mut caller = taken.context("more changes are in flight than the pool has devices")?;
        let done = caller.call().await;
        self.idle.lock().push(caller);
        done
    }
}
