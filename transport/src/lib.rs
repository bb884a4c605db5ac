//! Connections between all who speak with each other, plain or by TLS, at both ends.
//!
//! The only door to rustls. Nothing here knows of devices, calls or consensus.
