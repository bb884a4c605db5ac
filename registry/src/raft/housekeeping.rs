//! The leader's housekeeping: removes records that nobody uses any more, and sweeps rows of lives that are over, in small
//! entries. What goes is decided by apply; this only names candidates.

use super::consensus::{Consensus, LeaderError};
use crate::{
    blocking,
    clock::{Moment, unix_now},
    limits::{CHORE_ENTRIES, CHORE_ROWS, CHORE_SCAN},
    model::{
        command::{Command, RemoveExpired, Sweep},
        ids::UnixMillis,
        policy::{Policy, RegistrationMode},
    },
    routes::{Leftovers, Routes},
};

/// When to look next.
#[derive(Debug, Default)]
pub(super) struct Housekeeping {
    next: Moment,
}

impl Housekeeping {
    /// Looks through the rows if it is time to, and writes the entries for what it finds, a bounded number of them.
    pub(super) async fn tick(&mut self, consensus: &Consensus, routes: &Routes) {
        let now = Moment::now();
        if now < self.next {
            return;
        }
        let policy = routes.policy();
        // Often enough that a short time to live is kept about.
        self.next = now + CHORE_SCAN.min(policy.record_ttl / 4);
        let (at, most) = (unix_now(), CHORE_ROWS * CHORE_ENTRIES);
        let (looking, cutoff) = (routes.clone(), cutoff(policy, at));
        let found = blocking::spawn(move || looking.leftovers(cutoff, most)).await;
        let Ok(found) = found else { return };
        if found.expired.len() == most || found.void.len() == most {
            self.next = now;
        }
        if let Err(error) = clear(consensus, &found, at, cutoff.unwrap_or_default()).await {
            tracing::debug!(%error, "leftovers are cleared later");
        }
    }
}

fn cutoff(policy: Policy, at: UnixMillis) -> Option<UnixMillis> {
    let ttl = u64::try_from(policy.record_ttl.as_millis()).unwrap_or(u64::MAX);
    (policy.registration == RegistrationMode::Open).then_some(UnixMillis(at.0.saturating_sub(ttl)))
}

async fn clear(
    consensus: &Consensus,
    found: &Leftovers,
    at: UnixMillis,
    cutoff: UnixMillis,
) -> Result<(), LeaderError> {
    for devices in found.expired.chunks(CHORE_ROWS) {
        let expired = RemoveExpired { cutoff, at, devices: devices.to_vec() };
        consensus.write(Command::RemoveExpired(expired)).await?;
    }
    for rows in found.void.chunks(CHORE_ROWS) {
        consensus.write(Command::Sweep(Sweep { rows: rows.to_vec() })).await?;
    }
    Ok(())
}
