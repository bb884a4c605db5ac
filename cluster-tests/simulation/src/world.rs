//! The world of one life of a node: its clock, its chance, its disk and its wires.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use rollcall_registry::{
    clock::Moment,
    simulation::{Answer, World},
    storage::MemoryDisk,
};
use tokio::time::Instant;
use tonic::body::Body;

use crate::{chance::Chance, network::Network};

/// What a node stands on.
pub(crate) struct NodeWorld {
    pub(crate) machine: usize,
    pub(crate) network: Network,
    pub(crate) disk: MemoryDisk,
    pub(crate) chance: RefCell<Chance>,
    /// What its machine's clock said when the life began.
    pub(crate) booted: Duration,
    /// The same moment on the runtime's clock.
    pub(crate) begun: Cell<Option<Instant>>,
}

impl NodeWorld {
    /// The time since the life began, by the machine's clock.
    pub(crate) fn age(&self) -> Duration {
        let now = Instant::now();
        let begun = self.begun.get().unwrap_or_else(|| {
            self.begun.set(Some(now));
            now
        });
        now - begun
    }
}

impl World for NodeWorld {
    fn now(&self) -> Moment {
        Moment::default() + self.booted + self.age()
    }

    fn random(&self) -> u64 {
        self.chance.borrow_mut().number()
    }

    fn disk(&self) -> MemoryDisk {
        self.disk.clone()
    }

    fn call(&self, address: &str, request: http::Request<Body>) -> Answer {
        self.network.call(self.machine, address, request)
    }
}
