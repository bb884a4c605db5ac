//! What one device is and offers: built by its owner, checked before anything is dialled.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use rollcall_proto::device as wire;

use crate::{
    core::HEALTH_ACTION,
    handler::{AnyHandler, Handler},
    limits,
};

/// One device: its name, its groups and labels, its capacity and its handlers.
#[derive(Clone)]
pub struct Device {
    pub(crate) namespace: Arc<str>,
    pub(crate) id: Arc<str>,
    groups: Vec<String>,
    labels: BTreeMap<String, String>,
    capacity: u32,
    pub(crate) actions: BTreeMap<String, Arc<dyn AnyHandler>>,
}

/// Why a device or a list of servers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDevice {
    /// There is no server to connect to.
    #[error("no server is given")]
    NoServer,
    /// A server's URL is not `http://HOST:PORT` or `https://HOST:PORT`.
    #[error("server {0:?} is not of the form http://HOST:PORT or https://HOST:PORT")]
    Server(String),
    /// A name is empty or too long.
    #[error("{what} {name:?} must have 1 to {max} bytes", max = limits::NAME_BYTES)]
    Name {
        /// Which name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Too few or too many of something.
    #[error("{found} {what}: must be {min} to {max}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be at least.
        min: usize,
        /// How many there may be.
        max: usize,
    },
    /// Two devices have the same namespace and id.
    #[error("device {0:?} is given twice")]
    Twice(String),
}

impl Device {
    /// A device with this id, in the namespace `default`, for one call at a time.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            namespace: "default".into(),
            id: id.into().into(),
            groups: Vec::new(),
            labels: BTreeMap::new(),
            capacity: 1,
            actions: BTreeMap::new(),
        }
    }

    /// Puts it into another namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into().into();
        self
    }

    /// Adds a group. A device has 1 to 16.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.groups.push(group.into());
        self
    }

    /// Adds a label. A device has at most 32.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How many calls it takes at once: 1 to 65,536. More are refused as busy.
    #[must_use]
    pub fn capacity(mut self, calls: u32) -> Self {
        self.capacity = calls;
        self
    }

    /// Offers an action. The same name again replaces the handler. A device has at most 256.
    ///
    /// `rollcall.health` replaces the built-in one, which answers at once: a handler of that name that fails has the
    /// device kept out as if it hung. Nodes call it beside the capacity, and only when calls time out.
    #[must_use]
    pub fn action(mut self, name: impl Into<String>, handler: impl Handler) -> Self {
        self.actions.insert(name.into(), Arc::new(handler));
        self
    }

    /// Offers an action whose handler was chosen at run time.
    #[must_use]
    pub(crate) fn any_action(mut self, name: String, handler: Arc<dyn AnyHandler>) -> Self {
        self.actions.insert(name, handler);
        self
    }

    /// The profile as the protocol carries it.
    pub(crate) fn profile(&self) -> wire::Profile {
        wire::Profile {
            groups: self.groups.clone(),
            labels: self.labels.clone().into_iter().collect::<HashMap<_, _>>(),
            // Nodes call it without being told.
            actions: self.actions.keys().filter(|action| *action != HEALTH_ACTION).cloned().collect(),
            capacity: self.capacity,
        }
    }

    /// Checks the bounds that a node would otherwise refuse.
    pub(crate) fn check(&self) -> Result<(), InvalidDevice> {
        name("namespace", &self.namespace)?;
        name("device id", &self.id)?;
        count("groups", self.groups.len(), 1, limits::GROUPS)?;
        count("labels", self.labels.len(), 0, limits::LABELS)?;
        count("actions", self.actions.len(), 0, limits::ACTIONS)?;
        count("calls of capacity", self.capacity as usize, 1, limits::CAPACITY as usize)?;
        self.groups.iter().try_for_each(|group| name("group", group))?;
        self.actions.keys().try_for_each(|action| name("action", action))?;
        self.labels.keys().try_for_each(|key| name("label key", key))
    }
}

fn name(what: &'static str, name: &str) -> Result<(), InvalidDevice> {
    if name.is_empty() || name.len() > limits::NAME_BYTES {
        return Err(InvalidDevice::Name { what, name: name.to_owned() });
    }
    Ok(())
}

fn count(what: &'static str, found: usize, min: usize, max: usize) -> Result<(), InvalidDevice> {
    if found < min || found > max {
        return Err(InvalidDevice::Count { what, found, min, max });
    }
    Ok(())
}
