//! The wires between the machines: requests and answers in parts, each with a way of its own through whatever is broken.
//!
//! A stream is like one of HTTP/2: its parts arrive in order or not at all. What a cut takes is either sent again when it
//! heals, or the stream is dead and both ends notice much later, as with a connection that lost its other end.

mod body;
mod core;
mod line;
mod server;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rollcall_registry::simulation::Answer;
use tonic::{body::Body, service::Routes};

use self::core::Core;
use crate::{chance::Chance, trace::Trace};

pub(crate) use self::core::Wire;

/// The network; cheap to clone, all clones are the same.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<Core>>);

impl Network {
    pub(crate) fn new(chance: Chance, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Core::new(chance, trace))))
    }

    /// The address of a machine.
    pub(crate) fn address(machine: usize) -> String {
        format!("machine{machine}:1")
    }

    /// The time of the world.
    pub(crate) fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// Passes time, and delivers what has arrived.
    pub(crate) fn advance(&self, now: Duration) {
        let mut core = self.0.lock();
        core.now = now;
        while let Some(packet) = core.due() {
            core.deliver(packet);
        }
    }

    /// Breaks or mends the wire from one machine to another.
    pub(crate) fn set(&self, from: usize, to: usize, wire: Wire) {
        self.0.lock().set(from, to, wire);
    }

    /// How many messages cuts took.
    pub(crate) fn cut_messages(&self) -> u64 {
        self.0.lock().cut_messages
    }

    /// The machine is gone. If it is `silent`, nobody is told.
    pub(crate) fn gone(&self, machine: usize, silent: Silence) {
        self.0.lock().gone(machine, silent);
    }

    /// Serves requests to a machine from now on, until its runtime is gone. Called within it.
    pub(crate) fn serve(&self, machine: usize, routes: Routes) {
        let arriving = self.0.lock().listen(machine);
        tokio::spawn(server::serve(self.clone(), arriving, routes));
    }

    /// Sends a request.
    pub(crate) fn call(&self, from: usize, address: &str, request: http::Request<Body>) -> Answer {
        line::call(self, from, address, request)
    }
}

/// Whether the others are told that a machine is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Its process died: the machine resets its connections.
    Reset,
    /// The machine itself died.
    Silent,
}
