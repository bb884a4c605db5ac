//! The node from the outside, in one binary because linking it costs more than running it.
#![allow(clippy::expect_used, clippy::panic, reason = "that is how a test fails")]

mod backup;
mod commands;
mod configuration;
mod documentation;
mod invoke_stream;
mod outcomes;
mod records;
mod services;
mod statuses;
mod support;
mod validation;
