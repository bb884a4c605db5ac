//! From a call to its reply: routing, the way there, deadlines, what is tried again.

pub(crate) mod affine;
pub(crate) mod again;
pub(crate) mod broadcast;
pub(crate) mod dispatcher;
pub(crate) mod flight;
pub(crate) mod group;
pub(crate) mod holder;
mod inbox;
pub(crate) mod named;
pub(crate) mod pipeline;
mod quick;
pub(crate) mod send;
pub(crate) mod targets;
pub(crate) mod trip;
