//! A node's life: listeners, start, readiness, signals, drain, end.

mod ages;
mod balancing;
mod checks;
pub mod examine;
mod leaving;
mod listeners;
mod parting;
mod peers;
mod readiness;
mod serve;
mod servers;
mod showing;
mod signals;
mod stored_rules;
mod turn;

pub use leaving::Leaving;
pub use listeners::{Bound, ListenError};
pub use readiness::{Observation, Readiness, judge};
pub use serve::{Ended, ServeError, serve};
pub use signals::stop_on_signals;
pub use turn::{Answer, OtherVoter, waits_for};
