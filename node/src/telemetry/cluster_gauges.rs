//! The cluster as this node sees it, as metrics.

use std::time::Duration;

use metrics::{counter, gauge};

use super::metric_names::*;
use crate::cluster::ClusterStatus;

/// What is shown beside the status.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// How many voters may still be lost.
    pub failure_tolerance: usize,
    /// How long this node's lease holds.
    pub lease_remaining: Duration,
    /// Devices that the registry knows.
    pub devices: u64,
    /// Sessions of all nodes.
    pub sessions: u64,
}

/// The cluster's gauges, and the leader that was seen last.
#[derive(Debug, Default)]
pub struct ClusterGauges {
    led_by: Option<(u64, u64)>,
}

impl ClusterGauges {
    /// Shows the cluster. A leader that led and was replaced between two looks is not counted; its successor is.
    pub fn show(&mut self, status: &ClusterStatus, beside: Beside) {
        let flag = |on: bool| f64::from(u8::from(on));
        let leader = status.leader.map(|leader| (status.term, leader.0));
        if leader.is_some() && leader != self.led_by {
            // The first that is seen follows nobody.
            if self.led_by.is_some() {
                counter!(LEADER_CHANGES).increment(1);
            }
            self.led_by = leader;
        }
        gauge!(HAS_LEADER).set(flag(status.leader.is_some()));
        gauge!(IS_LEADER).set(flag(status.leader == Some(status.node)));
        gauge!(TERM).set(status.term as f64);
        gauge!(APPLIED_INDEX).set(status.applied.0 as f64);
        gauge!(LAST_LOG_INDEX).set(status.last_log.0 as f64);
        gauge!(LOG_BYTES).set(status.log_bytes as f64);
        gauge!(VOTERS).set(status.voters.len() as f64);
        gauge!(LEARNERS).set(status.learners.len() as f64);
        gauge!(FAILURE_TOLERANCE).set(beside.failure_tolerance as f64);
        gauge!(LEASE_REMAINING).set(beside.lease_remaining.as_secs_f64());
        gauge!(FEATURE_LEVEL).set(f64::from(status.feature_level.0));
        gauge!(REGISTRY_DEVICES).set(beside.devices as f64);
        gauge!(REGISTRY_SESSIONS).set(beside.sessions as f64);
    }
}
