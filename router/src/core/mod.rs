//! The decisions of the router: `(state, input, now)` in, effects out. No clock, I/O, randomness or lock in here.

pub(crate) mod admission;
pub(crate) mod affinity;
pub(crate) mod balance;
pub(crate) mod broadcast;
pub(crate) mod departure;
pub(crate) mod device;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod golden;
pub(crate) mod health;
pub(crate) mod in_flight;
pub(crate) mod lanes;
pub(crate) mod load_hint;
pub(crate) mod once;
pub(crate) mod pick;
pub(crate) mod placement;
pub(crate) mod pressure;
#[cfg(test)]
mod properties;
pub(crate) mod queue;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod returned;
pub(crate) mod rivals;
pub(crate) mod room;
pub(crate) mod site_loss;
pub(crate) mod slow_start;
pub(crate) mod token;
pub(crate) mod transit;
