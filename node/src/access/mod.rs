//! Who is it, and what may it: tokens and certificates become identities, identities have rules, default deny.
//!
//! The certificates themselves are `security`'s; nothing here knows what a call is.

pub(crate) mod audit;
mod control;
mod credential;
mod devices;
mod fetching;
mod file;
mod guard;
mod identity;
mod jwt;
mod layer;
mod methods;
mod pattern;
mod policy;
mod provider;
mod rules;
mod standing;

pub use control::AccessControl;
pub use devices::{DeviceDoor, Verdict};
pub use file::{AccessError, check};
pub use identity::{Identity, Verb};
pub use layer::AccessLayer;
pub(crate) use layer::denied;
pub use standing::Standing;
