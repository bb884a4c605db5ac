//! Row 21: the link between the caller's node and the holder is down, and both have a leader. Calls by name fail typed
//! at once, calls to the group go elsewhere, and no session is touched.

use std::time::Duration;

use futures::{FutureExt, future::join_all};

use super::{
    Bite, Most, Outcome, Row, Target,
    row_01_follower_killed::{failures, moved},
    row_03_holder_killed::untyped,
};
use crate::{
    HEAL_PATIENCE,
    history::{CallRecord, Ending},
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage, nap},
};

/// How long the link is down: shorter than nothing that counts, as the leader hears both.
const DOWN: Duration = Duration::from_secs(4);
/// Calls that were sent before a link's silence is noticed may still be on it, and wait for their answers.
const NOTICED: Duration = Duration::from_secs(2);

/// The row.
pub(super) const ROW: Row = Row {
    number: 21,
    event: "the link between the caller's node and the holder down, both with a leader",
    grounds: &[Ground::OwnNetwork],
    bites_wanted: 20,
    targets: &[Target { sample: "refused after", most: Most::Of(Duration::from_secs(1)) }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let (leader, caller, holder) = stage.cluster.leader_and_two_others().await?;
    let cut_off: Vec<_> =
        stage.devices_on(&holder.name).iter().map(|device| device.device_id.clone()).collect();
    let all: Vec<_> = stage.devices.iter().map(|device| device.device_id.clone()).collect();
    let term = leader.api()?.cluster().await?.term;
    let called = cut_off.iter().cloned().chain([String::new()]).collect();
    let load = stage.load(LoadPlan::new(vec![caller.clone()], called)).await?;

    let cut_at = stage.journal.now();
    stage.network()?.part(&[caller.addresses.host], &[holder.addresses.host])?;
    tokio::time::sleep(NOTICED).await;
    // The load's callers may all wait for the answers of what is on the link: these come new.
    let mut fresh = Vec::new();
    for (number, device) in cut_off.iter().map(String::as_str).chain([""]).enumerate() {
        let request_id = format!("fresh-{number}-{cut_at:?}");
        fresh.push(stage.send(&caller, nap(device, request_id, Duration::ZERO))?);
    }
    tokio::time::sleep(DOWN - NOTICED).await;
    let healed_at = stage.journal.now();
    stage.network()?.heal()?;
    join_all(fresh).await;

    let mut violations = stage.judge(load).await;
    let calls = stage.journal.calls();
    let noticed = cut_at + NOTICED;
    let during = |call: &&CallRecord| call.sent_at > noticed && call.sent_at < healed_at;
    let group: Vec<_> = calls.iter().filter(during).filter(|call| call.device_id.is_empty()).collect();
    violations.extend(failures(&group));
    violations.extend(untyped(&calls, &cut_off, cut_at));
    violations.extend(moved(stage, &all, cut_at));
    let now = stage.cluster.leader(HEAL_PATIENCE).await?.api()?.cluster().await?.term;
    if now != term {
        violations.push(Violation::of("no_election", format!("term {now} after {term}")));
    }
    let refused: Vec<_> = calls
        .iter()
        .filter(|call| {
            call.sent_at > noticed && call.ending().and_then(Ending::reason) == Some("HOLDER_UNREACHABLE")
        })
        .filter_map(CallRecord::took)
        .collect();
    let bite = Bite::when(!refused.is_empty() && !group.is_empty(), || {
        format!("{} calls found the link down, {} called the group", refused.len(), group.len())
    });
    Ok(Outcome::new(bite, violations).measured("refused after", refused))
}
