//! Many devices on one connection: a site controller with its phones behind it.

use std::time::Duration;

use rand::seq::SliceRandom;
use rollcall_transport::Access;
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
};

use crate::{
    core::{Core, Session, url},
    device::{Device, InvalidDevice},
    limits,
    state::{AgentState, StopReason},
    stats::ConnectionStats,
    worker::{Command, Told, Worker},
};

/// Where the devices of a [`Site`] are gathered.
pub struct SiteBuilder {
    servers: Vec<String>,
    devices: Vec<Device>,
    agent: String,
    order: Order,
    executor: Option<Handle>,
    access: Access,
}

/// The order in which servers are tried until one has been good.
#[derive(Debug, Clone, Copy)]
enum Order {
    AsGiven,
    Shuffled,
}

/// Devices that share one connection.
#[derive(Debug, Clone, Copy)]
pub struct Site;

/// What an owner sees of a device.
#[derive(Debug)]
struct Watched {
    namespace: String,
    id: String,
    state: watch::Receiver<AgentState>,
    stats: watch::Receiver<ConnectionStats>,
}

/// The owner's end of running devices. Dropping it stops them at once; [`SiteHandle::shutdown`] does it gracefully.
#[derive(Debug)]
pub struct SiteHandle {
    devices: Vec<Watched>,
    commands: mpsc::Sender<Command>,
}

impl Site {
    /// Starts with the servers: `http://HOST:PORT` of the nodes' device listeners, or `https://HOST:PORT` where they have
    /// certificates; all of the same kind.
    pub fn builder<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> SiteBuilder {
        SiteBuilder {
            servers: servers.into_iter().map(Into::into).collect(),
            devices: Vec::new(),
            agent: concat!("rollcall-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
            order: Order::Shuffled,
            executor: None,
            access: Access::default(),
        }
    }
}

impl SiteBuilder {
    /// Adds a device. A node takes 1,024 on one connection by default; surplus ones wait.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.devices.push(device);
        self
    }

    /// The name and version that nodes log; by default this library's.
    #[must_use]
    pub fn agent_name(mut self, name: impl Into<String>) -> Self {
        self.agent = name.into();
        self
    }

    /// Tries the servers in the order in which they were given until one has been good. By default each agent draws an
    /// order of its own, so that devices with the same list spread over all servers.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.order = Order::AsGiven;
        self
    }

    /// Whom it trusts, and as whom it attaches. By default it trusts as the system does, and is nobody in particular.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Runs the handlers on another runtime than the connection. A handler that blocks its threads then does not
    /// silence the connection: the node finds out by calling `rollcall.health` there, and gives the device's calls to
    /// others meanwhile. The runtime needs tokio's timer.
    #[must_use]
    pub fn handlers_on(mut self, runtime: Handle) -> Self {
        self.executor = Some(runtime);
        self
    }

    /// Starts to connect, in a task of the current tokio runtime.
    ///
    /// # Errors
    /// None here: what cannot be attached shows as [`AgentState::Stopped`] with [`StopReason::Invalid`], for all devices.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "dropping the handle stops the devices"]
    pub fn start(self) -> SiteHandle {
        let checked = self.check();
        let first = match &checked {
            Ok(servers) => AgentState::Connecting { server: servers.first().cloned().unwrap_or_default() },
            Err(invalid) => AgentState::Stopped(StopReason::Invalid(invalid.clone())),
        };
        let (commands, inbox) = mpsc::channel(1);
        let mut handle = SiteHandle { devices: Vec::new(), commands };
        let mut told = Told::default();
        for device in &self.devices {
            let (sender, receiver) = watch::channel(first.clone());
            told.states.push(sender);
            let (counter, stats) = watch::channel(ConnectionStats::default());
            told.stats.push(counter);
            let (namespace, id) = (device.namespace.to_string(), device.id.to_string());
            handle.devices.push(Watched { namespace, id, state: receiver, stats });
        }
        match checked {
            Ok(servers) => {
                let session = |device: &Device| {
                    Session::new(device.namespace.to_string(), device.id.to_string(), device.profile())
                };
                let sessions = self.devices.iter().map(session).collect();
                let core = Core::new(rand::random_range(1..=u64::MAX), servers, sessions);
                let executor = self.executor.unwrap_or_else(Handle::current);
                tokio::spawn(
                    Worker::new(core, self.devices, told, self.agent, executor, self.access).run(inbox),
                );
            }
            Err(invalid) => tracing::error!(reason = %invalid, "the configuration cannot be used"),
        }
        handle
    }

    fn check(&self) -> Result<Vec<String>, InvalidDevice> {
        if self.servers.is_empty() {
            return Err(InvalidDevice::NoServer);
        }
        let mut names = std::collections::HashSet::new();
        for device in &self.devices {
            device.check()?;
            if !names.insert((&device.namespace, &device.id)) {
                return Err(InvalidDevice::Twice(device.id.to_string()));
            }
        }
        let parse = |server: &String| url(server).ok_or_else(|| InvalidDevice::Server(server.clone()));
        let mut servers = self.servers.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        match self.order {
            Order::AsGiven => {}
            Order::Shuffled => servers.shuffle(&mut rand::rng()),
        }
        Ok(servers)
    }
}

impl SiteHandle {
    /// What a device is doing; `None` if there is no such device.
    #[must_use]
    pub fn state(&self, namespace: &str, device_id: &str) -> Option<watch::Receiver<AgentState>> {
        self.watched(namespace, device_id).map(|device| device.state.clone())
    }

    /// What a device's connection has been through; `None` if there is no such device.
    #[must_use]
    pub fn stats(&self, namespace: &str, device_id: &str) -> Option<ConnectionStats> {
        self.watched(namespace, device_id).map(|device| *device.stats.borrow())
    }

    fn watched(&self, namespace: &str, device_id: &str) -> Option<&Watched> {
        self.devices.iter().find(|device| device.namespace == namespace && device.id == device_id)
    }

    /// Takes no more calls, lets running handlers finish for up to 10 s, says goodbye, ends. Returns when all is over.
    ///
    /// # Cancel safety
    /// Once polled, the stop goes on even if the future is dropped; but dropping the handle cuts the grace short.
    pub async fn shutdown(self) {
        self.shutdown_within(limits::STOP_GRACE).await;
    }

    /// [`SiteHandle::shutdown`] with another grace.
    pub async fn shutdown_within(self, grace: Duration) {
        // It has stopped already if nobody takes the command.
        let _ = self.commands.send(Command::Stop(grace)).await;
        self.commands.closed().await;
    }

    /// Resolves when no device is tried any more, with the reason of the first that stopped.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn stopped(&self) -> StopReason {
        let mut reason = None;
        for device in &self.devices {
            let mut state = device.state.clone();
            let last = state.wait_for(|state| state.stopped().is_some()).await;
            let said = last.ok().and_then(|state| state.stopped().cloned());
            reason = reason.or(said);
        }
        reason.unwrap_or(StopReason::Shutdown)
    }

    pub(crate) fn first_state(&self) -> Option<watch::Receiver<AgentState>> {
        self.devices.first().map(|device| device.state.clone())
    }

    pub(crate) fn first_stats(&self) -> ConnectionStats {
        self.devices.first().map(|device| *device.stats.borrow()).unwrap_or_default()
    }
}
