//! Work that blocks: off the runtime's threads. A simulated node has no others, and does it at once.

use tokio::task::{JoinHandle, spawn_blocking};

/// Runs it in a thread of its own.
pub(crate) fn spawn<F, T>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    #[cfg(feature = "simulation")]
    if crate::simulation::is_on() {
        return tokio::spawn(async move { work() });
    }
    spawn_blocking(work)
}
