//! Callers: as many calls as possible with so many in flight, or so many a second whatever happens.

mod closed;
mod open;

pub(crate) use closed::{rate, round_trips};
pub(crate) use open::at_rate;

/// Somebody who calls.
pub(crate) trait Caller: Send + 'static {
    /// Makes one call, and gives how many operations it was.
    ///
    /// # Errors
    /// What ends the measurement.
    fn call(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}
