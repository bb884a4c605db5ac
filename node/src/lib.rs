//! The Rollcall node: configuration, gRPC services, health, telemetry, lifecycle and the commands.
//!
//! Decisions about calls live in `rollcall-router`, who exists and who holds them in `rollcall-registry`. Tests start
//! what `main` starts.

pub mod access;
pub mod api;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod dev;
pub mod http;
pub mod lifecycle;
pub mod limits;
pub mod security;
pub mod telemetry;
