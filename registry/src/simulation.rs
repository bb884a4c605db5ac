//! What a simulated node has in place of a machine: clock, chance, disk, and lines to its peers.
//!
//! They exist only with the feature `simulation`, and only while [`within`] runs on this thread. Everything else of a
//! simulated registry is the registry. What simulates does not live here.

mod line;

use std::{
    cell::RefCell,
    future::Future,
    hash::{BuildHasher, DefaultHasher, Hasher},
    pin::Pin,
    rc::Rc,
};

use rand::{
    Rng, SeedableRng,
    distr::{Distribution, StandardUniform},
    rngs::StdRng,
};
use tonic::{body::Body, codegen::http};

pub use line::{Line, LineError};

use crate::{
    clock::Moment,
    storage::{MemoryDisk, MemoryLog},
};

/// The answer to a request to a peer.
pub type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, LineError>> + Send>>;

/// Puts rows of a simulated node at the same place in each run: a snapshot has them in the order of their places. Outside of a
/// simulation they lie where nobody can foretell, as without the feature.
#[derive(Debug)]
pub(crate) struct RowHasher {
    seed: u64,
}

impl Default for RowHasher {
    fn default() -> Self {
        Self { seed: if is_on() { 0 } else { rand::random() } }
    }
}

impl BuildHasher for RowHasher {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.seed);
        hasher
    }
}

/// The world of one node.
pub trait World {
    /// The node's clock.
    fn now(&self) -> Moment;
    /// The next random number.
    fn random(&self) -> u64;
    /// The disk under the node's log.
    fn disk(&self) -> MemoryDisk;
    /// Sends a request to the peer at an address. Called within the node's runtime.
    fn call(&self, address: &str, request: http::Request<Body>) -> Answer;
}

thread_local! {
    static WORLD: RefCell<Option<Rc<dyn World>>> = const { RefCell::new(None) };
}

/// Runs a part of a node's life in its world. Not to be nested.
pub fn within<T>(world: Rc<dyn World>, run: impl FnOnce() -> T) -> T {
    WORLD.set(Some(world));
    let done = run();
    WORLD.set(None);
    done
}

/// The world of the node that runs on this thread, if it is simulated.
fn world() -> Option<Rc<dyn World>> {
    WORLD.with_borrow(Clone::clone)
}

/// Whether the node on this thread is simulated.
pub(crate) fn is_on() -> bool {
    WORLD.with_borrow(Option::is_some)
}

/// The node's clock.
pub(crate) fn now() -> Option<Moment> {
    world().map(|world| world.now())
}

/// A random value.
pub(crate) fn random<T>() -> Option<T>
where
    StandardUniform: Distribution<T>,
{
    world().map(|world| StdRng::seed_from_u64(world.random()).random())
}

/// The log on the node's disk.
pub(crate) fn log() -> Option<MemoryLog> {
    world().map(|world| MemoryLog::open(&world.disk()))
}
