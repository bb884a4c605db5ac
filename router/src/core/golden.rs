//! Runs golden scripts.
