//! One device on one connection: the simple case of a [`Site`].

use std::{sync::Arc, time::Duration};

use rollcall_transport::Access;
use tokio::{runtime::Handle, sync::watch};

use crate::{
    device::Device,
    handler::{AnyHandler, Handler},
    site::{Site, SiteBuilder, SiteHandle},
    state::{AgentState, StopReason},
    stats::ConnectionStats,
};

/// One device with a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Agent;

/// Where an [`Agent`]'s device is described.
pub struct AgentBuilder {
    site: SiteBuilder,
    device: Device,
    id: Option<String>,
}

/// The owner's end of a running agent. Dropping it stops the agent at once; [`AgentHandle::shutdown`] does it gracefully.
#[derive(Debug)]
pub struct AgentHandle {
    site: SiteHandle,
    state: watch::Receiver<AgentState>,
}

impl Agent {
    /// Starts with the servers: `http://HOST:PORT` of the nodes' device listeners, or `https://HOST:PORT` where they have
    /// certificates; all of the same kind.
    pub fn builder<S: Into<String>>(servers: impl IntoIterator<Item = S>) -> AgentBuilder {
        AgentBuilder { site: Site::builder(servers), device: Device::new(""), id: None }
    }
}

impl AgentBuilder {
    /// The device's id, unique in its namespace: 1 to 128 bytes.
    #[must_use]
    pub fn device(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The device's namespace; `default` by default.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.device = self.device.namespace(namespace);
        self
    }

    /// Adds a group. A device has 1 to 16.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.device = self.device.group(group);
        self
    }

    /// Adds a label. A device has at most 32.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.device = self.device.label(key, value);
        self
    }

    /// How many calls the device takes at once: 1 to 65,536; 1 by default. More are refused as busy.
    #[must_use]
    pub fn capacity(mut self, calls: u32) -> Self {
        self.device = self.device.capacity(calls);
        self
    }

    /// Offers an action. The same name again replaces the handler. A device has at most 256.
    #[must_use]
    pub fn action(mut self, name: impl Into<String>, handler: impl Handler) -> Self {
        self.device = self.device.action(name, handler);
        self
    }

    /// The name and version that nodes log; by default this library's.
    #[must_use]
    pub fn agent_name(mut self, name: impl Into<String>) -> Self {
        self.site = self.site.agent_name(name);
        self
    }

    /// Tries the servers in the order in which they were given until one has been good. By default each agent draws an
    /// order of its own, so that devices with the same list spread over all servers.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.site = self.site.in_order();
        self
    }

    /// Whom it trusts, and as whom it attaches. By default it trusts as the system does, and is nobody in particular.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.site = self.site.access(access);
        self
    }

    /// Runs the handlers on another runtime than the connection. A handler that blocks its threads then does not
    /// silence the connection: the node finds out by calling `rollcall.health` there, and gives the device's calls to
    /// others meanwhile. The runtime needs tokio's timer.
    #[must_use]
    pub fn handlers_on(mut self, runtime: Handle) -> Self {
        self.site = self.site.handlers_on(runtime);
        self
    }

    pub(crate) fn any_action(mut self, name: String, handler: Arc<dyn AnyHandler>) -> Self {
        self.device = self.device.any_action(name, handler);
        self
    }

    /// Starts to connect, in a task of the current tokio runtime.
    ///
    /// # Errors
    /// None here: what cannot be attached shows as [`AgentState::Stopped`] with [`StopReason::Invalid`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use = "dropping the handle stops the agent"]
    pub fn start(mut self) -> AgentHandle {
        self.device.id = self.id.unwrap_or_default().into();
        let site = self.site.device(self.device).start();
        // A site of one device has one state; the other arm only spares a panic.
        let state =
            site.first_state().unwrap_or_else(|| watch::channel(AgentState::Stopped(StopReason::Shutdown)).1);
        AgentHandle { site, state }
    }
}

impl AgentHandle {
    /// What the agent is doing, to look at or to wait on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<AgentState> {
        self.state.clone()
    }

    /// What the device's connection has been through.
    #[must_use]
    pub fn stats(&self) -> ConnectionStats {
        self.site.first_stats()
    }

    /// Resolves when the agent is attached, or over for good.
    ///
    /// # Errors
    /// Why it is over.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn attached(&self) -> Result<(), StopReason> {
        let mut state = self.state.clone();
        let settled = |state: &AgentState| state.is_attached() || state.stopped().is_some();
        match state.wait_for(settled).await {
            Ok(state) => state.stopped().cloned().map_or(Ok(()), Err),
            Err(_) => Err(StopReason::Shutdown),
        }
    }

    /// Resolves when the agent is over, with the reason.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn stopped(&self) -> StopReason {
        self.site.stopped().await
    }

    /// Takes no more calls, lets running handlers finish for up to 10 s, says goodbye, ends. Returns when all is over.
    ///
    /// # Cancel safety
    /// Once polled, the stop goes on even if the future is dropped; but dropping the handle cuts the grace short.
    pub async fn shutdown(self) {
        self.site.shutdown().await;
    }

    /// [`AgentHandle::shutdown`] with another grace.
    pub async fn shutdown_within(self, grace: Duration) {
        self.site.shutdown_within(grace).await;
    }
}
