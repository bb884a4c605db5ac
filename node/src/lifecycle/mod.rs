//! A node's life: listeners, start, readiness, signals, drain, end.

mod checks;
mod listeners;
mod readiness;
mod serve;
mod servers;
mod signals;

pub use listeners::{Bound, ListenError};
pub use readiness::{Observation, Readiness, judge};
pub use serve::{Ended, ServeError, serve};
pub use signals::stop_on_signals;
