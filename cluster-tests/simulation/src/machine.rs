//! A machine: its disk and its clock, and the node that lives on it.

use std::{cell::RefCell, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rollcall_registry::{
    LogBounds, Registrar, Registry, RegistryConfig,
    model::{
        command::Addresses,
        feature_level::FeatureLevel,
        ids::{Incarnation, NodeId},
    },
    simulation::within,
    storage::{MemoryDisk, memory::SyncPolicy},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::{Instant, advance, sleep_until},
};

use crate::{
    chance::Chance,
    followed::Followed,
    limits::{DISK, KEEP_BYTES, MACHINES, SNAPSHOT_EVERY_BYTES, STEP},
    network::{Network, Silence},
    world::NodeWorld,
};

/// Behind by more than this, a machine has stood still: its clock jumps.
const JUMP: Duration = Duration::from_millis(100);

/// What a node believes of itself.
pub(crate) struct Belief {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    pub(crate) holds_lease: bool,
}

/// One process on a machine.
struct Life {
    runtime: Runtime,
    world: Rc<NodeWorld>,
    registry: Registry,
    /// When it began, by the world's time.
    since: Duration,
    /// Why it has ended by itself.
    end: Arc<Mutex<Option<String>>>,
}

/// A machine.
pub(crate) struct Machine {
    pub(crate) number: usize,
    /// How fast its clock runs.
    pub(crate) rate: f64,
    /// How long its disk takes at most.
    pub(crate) disk_takes: Duration,
    /// It stands still until then.
    pub(crate) paused_until: Duration,
    dir: PathBuf,
    network: Network,
    followed: Followed,
    disk: MemoryDisk,
    syncs_at: Option<Duration>,
    chance: Chance,
    life: Option<Life>,
}

impl Machine {
    pub(crate) fn new(
        number: usize,
        dir: PathBuf,
        policy: SyncPolicy,
        chance: Chance,
        network: Network,
        followed: Followed,
    ) -> Self {
        Self {
            number,
            rate: 1.0,
            disk_takes: DISK,
            paused_until: Duration::ZERO,
            dir,
            network,
            followed,
            disk: MemoryDisk::new(policy),
            syncs_at: None,
            chance,
            life: None,
        }
    }

    /// Its node's registry, while there is one.
    pub(crate) fn registry(&self) -> Option<&Registry> {
        self.life.as_ref().map(|life| &life.registry)
    }

    /// Why its node has ended by itself, if it has.
    pub(crate) fn end(&self) -> Option<String> {
        self.life.as_ref().and_then(|life| life.end.lock().clone())
    }

    /// Whether it runs at this moment.
    pub(crate) fn is_running(&self, now: Duration) -> bool {
        self.life.is_some() && self.paused_until <= now
    }

    /// Starts its node.
    ///
    /// # Errors
    /// The folder cannot be opened, or says that it must not.
    pub(crate) fn start(&mut self, now: Duration) -> Result<()> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let world = Rc::new(NodeWorld {
            machine: self.number,
            network: self.network.clone(),
            disk: self.disk.clone(),
            chance: RefCell::new(Chance::of(self.chance.number(), 0)),
            booted: Duration::from_secs(1_000) + now.mul_f64(self.rate),
            begun: Default::default(),
        });
        let (network, number, config) = (self.network.clone(), self.number, self.config());
        let (follower, end) = (self.followed.follower(number), Arc::new(Mutex::new(None)));
        let told = Arc::clone(&end);
        let started = async move {
            let registry = Registry::start(config).await?;
            registry.observe(follower);
            network.serve(number, registry.peer_routes());
            let (joining, failing) = (registry.clone(), registry.clone());
            tokio::spawn(async move {
                let why = match joining.join().await {
                    Ok(()) => failing.fatal().await.to_string(),
                    Err(error) => error.to_string(),
                };
                *told.lock() = Some(why);
            });
            anyhow::Ok(registry)
        };
        let registry = within(world.clone(), || {
            runtime.block_on(async {
                world.age();
                started.await
            })
        });
        let registry = registry.with_context(|| format!("machine {number} does not start"))?;
        self.life = Some(Life { runtime, world, registry, since: now, end });
        self.syncs_at = None;
        Ok(())
    }

    fn config(&self) -> RegistryConfig {
        RegistryConfig {
            name: format!("n{}", self.number + 1),
            data_dir: self.dir.clone(),
            join: (0..MACHINES).map(Network::address).collect(),
            bootstrap_expect: MACHINES,
            advertise: Addresses { peer: Network::address(self.number), ..Addresses::default() },
            version: "simulated".to_owned(),
            voters: MACHINES,
            learner_ttl: Duration::ZERO,
            log_bounds: LogBounds { snapshot_every_bytes: SNAPSHOT_EVERY_BYTES, keep_bytes: KEEP_BYTES },
            max_feature_level: FeatureLevel::NEWEST,
            registration: Default::default(),
            connector: Default::default(),
        }
    }

    /// Ends its node at once, with what its disk did not have yet; how many writes those were.
    pub(crate) fn crash(&mut self, silent: Silence) -> usize {
        let Some(life) = self.life.take() else { return 0 };
        self.network.gone(self.number, silent);
        let lost = self.disk.unsynced();
        self.disk.crash();
        within(life.world.clone(), || {
            // Its tasks go with it, and with them all that holds its folder.
            drop(life.registry);
            drop(life.runtime);
        });
        lost
    }

    /// Runs something on its node, within its world.
    pub(crate) fn spawn<F>(&self, work: impl FnOnce(Registry) -> F) -> Option<JoinHandle<()>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let life = self.life.as_ref()?;
        Some(within(life.world.clone(), || life.runtime.spawn(work(life.registry.clone()))))
    }

    /// Looks at its node, within its world and at its time.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Registry) -> T) -> Option<T> {
        let life = self.life.as_ref()?;
        Some(within(life.world.clone(), || life.runtime.block_on(async { look(&life.registry) })))
    }

    /// Lets it live until `now`, the world's time; what its node then believes of itself.
    pub(crate) fn step(&mut self, now: Duration) -> Option<Belief> {
        if !self.is_running(now) {
            return None;
        }
        let syncs = self.is_synced(now);
        let life = self.life.as_ref()?;
        let age = now.saturating_sub(life.since).mul_f64(self.rate);
        let (disk, world) = (&self.disk, &life.world);
        let living = async {
            if syncs {
                disk.sync();
            }
            let behind = age.saturating_sub(world.age());
            if behind > JUMP {
                advance(behind - STEP).await;
            }
            let now = Instant::now();
            sleep_until(now + age.saturating_sub(world.age())).await;
            let registry = &life.registry;
            Belief {
                node: registry.node(),
                incarnation: registry.incarnation(),
                holds_lease: registry.lease_held(),
            }
        };
        Some(within(world.clone(), || life.runtime.block_on(living)))
    }

    /// Whether its disk has finished a write by now.
    fn is_synced(&mut self, now: Duration) -> bool {
        if self.disk.unsynced() == 0 {
            self.syncs_at = None;
            return false;
        }
        let takes = self.disk_takes;
        let at = *self.syncs_at.get_or_insert_with(|| now + self.chance.time(takes / 8, takes));
        let is_done = at <= now;
        if is_done {
            self.syncs_at = None;
        }
        is_done
    }
}
