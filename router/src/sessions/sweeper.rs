//! Visits every connection several times per heartbeat interval: pings, silence, deadlines; sessions
//! that wait for their devices; forgets old replies. One task for all of them.
//!
//! When the process has slept, the sweep may wake before anything that came meanwhile is read: such a visit ends nobody.

use std::sync::Weak;

use rollcall_registry::Registrar;
use tokio::time::MissedTickBehavior;

use super::{device_sessions::DeviceSessions, state::Judging};
use crate::limits;

/// Runs until the sessions are dropped.
pub(crate) async fn sweep<R: Registrar>(sessions: Weak<DeviceSessions<R>>) {
    let Some(period) = sessions.upgrade().map(|sessions| sessions.shared.config.heartbeat_interval) else {
        return;
    };
    let mut ticks = tokio::time::interval(period / limits::SWEEPS_PER_HEARTBEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let late = ticks.tick().await.elapsed();
        let judging =
            if late >= period / limits::SWEEPS_PER_HEARTBEAT { Judging::Later } else { Judging::Now };
        let Some(connections) = sessions.upgrade().map(|sessions| {
            sessions.runs.expire();
            sessions.lingering.connections().iter().for_each(|connection| connection.tick_absent(judging));
            sessions.review_replays();
            sessions.connections()
        }) else {
            return;
        };
        for slice in connections.chunks(limits::SWEEP_SLICE) {
            slice.iter().for_each(|connection| connection.tick(judging));
            tokio::task::yield_now().await;
        }
    }
}
