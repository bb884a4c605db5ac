//! What a row is.

use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::Outcome;
use crate::stage::{Ground, Stage};

/// A row of the failure matrix.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number in the matrix.
    pub number: u8,
    /// What happens.
    pub event: &'static str,
    /// What it needs; if there are several, runs take turns.
    pub grounds: &'static [Ground],
    /// How often the fault is to bite in a long run.
    pub bites_wanted: u32,
    /// What its samples must not exceed. Judged over many runs of release builds on a machine that does nothing else,
    /// never in a test.
    pub targets: &'static [Target],
    /// Makes it happen once, on a stage that has begun, and judges. An error is the harness' own trouble, or something
    /// that should have happened and did not.
    pub play: for<'a> fn(&'a mut Stage) -> LocalBoxFuture<'a, anyhow::Result<Outcome>>,
}

/// The most that samples of a name may be: their p99 from 100 samples on, their maximum below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The samples.
    pub sample: &'static str,
    /// The most.
    pub most: Most,
}

/// The most that samples may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Most {
    /// So long.
    Of(Duration),
    /// So many times as long as other samples of the row.
    Times(u32, &'static str),
}
