//! Visits every connection several times per heartbeat interval: pings, silence, deadlines; sessions
//! that wait for their devices; forgets old replies. One task for all of them, in small steps: thousands of pings at one moment
//! would hold up every call that comes in it.
//!
//! When the process has slept, the sweep may wake before anything that came meanwhile is read: such a visit ends nobody.

use std::{sync::Weak, time::Duration};

use rollcall_registry::Registrar;
use tokio::time::{Instant, MissedTickBehavior};

use super::{device_sessions::DeviceSessions, state::Judging};
use crate::limits;

/// Runs until the sessions are dropped.
pub(crate) async fn sweep<R: Registrar>(sessions: Weak<DeviceSessions<R>>) {
    let Some(round) = sessions.upgrade().map(|sessions| round_of(sessions.shared.config.heartbeat_interval))
    else {
        return;
    };
    let mut ticks = tokio::time::interval(round.step);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut connections, mut visited) = (Vec::new(), 0);
    let mut slept = None;
    for step in (0..round.steps).cycle() {
        let late = ticks.tick().await.elapsed();
        let Some(sessions) = sessions.upgrade() else { return };
        let now = Instant::now();
        if late >= round.whole {
            slept = Some(now);
        }
        // A whole round, so that everybody has been heard again.
        let has_slept = slept.is_some_and(|at| now.saturating_duration_since(at) < round.whole);
        let judging = if has_slept { Judging::Later } else { Judging::Now };
        if step == 0 {
            sessions.runs.expire();
            sessions.lingering.connections().iter().for_each(|connection| connection.tick_absent(judging));
            sessions.review_replays();
            (connections, visited) = (sessions.connection_ids(), 0);
        }
        let until = connections.len() * (step as usize + 1) / round.steps as usize;
        for id in &connections[visited..until] {
            if let Some(connection) = sessions.connection(*id) {
                connection.tick(judging);
            }
        }
        visited = until;
    }
}

/// One visit of every connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    whole: Duration,
    step: Duration,
    /// At least 1.
    steps: u32,
}

fn round_of(heartbeat: Duration) -> Round {
    let whole = heartbeat / limits::SWEEPS_PER_HEARTBEAT;
    let steps = u32::try_from(whole.as_millis() / limits::SWEEP_STEP.as_millis()).unwrap_or(u32::MAX).max(1);
    Round { whole, step: whole / steps, steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_cut_into_small_steps_and_a_short_one_is_one_step() {
        let ms = Duration::from_millis;
        assert_eq!(round_of(ms(5_000)), Round { whole: ms(1_250), step: ms(1_250) / 62, steps: 62 });
        assert_eq!(round_of(ms(40)), Round { whole: ms(10), step: ms(10), steps: 1 });
    }
}
