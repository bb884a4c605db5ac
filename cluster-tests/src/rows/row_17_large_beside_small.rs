//! Row 17: replies of 500 KB and calls of 20 s beside small ones. The small ones do not feel it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use rollcall_proto::api::InvokeRequest;
use tokio::task::JoinSet;

use super::{Bite, Most, Outcome, Row, Target, row_01_follower_killed::failures};
use crate::{
    Lab, call,
    history::CallRecord,
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
};

const REPLY_BYTES: usize = 500_000;
/// Callers of large replies, and calls that take their time.
const LARGE: usize = 4;
const LONG: usize = 50;
/// Between two large replies to one caller: all of them are some 50 MB a second at most, which leaves two cores time for others.
const PACE: Duration = Duration::from_millis(40);
const CALM: Duration = Duration::from_secs(2);
const BESIDE: Duration = Duration::from_secs(4);

/// The row.
pub(super) const ROW: Row = Row {
    number: 17,
    event: "500 KB replies and 20 s calls beside small ones",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[Target { sample: "call beside large ones", most: Most::Times(2, "call in calm") }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let (_, caller, holder) = stage.cluster.leader_and_two_others().await?;
    let name = format!("large-{:?}", stage.journal.now());
    let device = Lab::new(&name, "large").capacity(256).attach(&[holder.device_url()]).await?;
    stage.cluster.caught_up(crate::SPREAD_PATIENCE).await?;
    let small = stage.devices_on(&holder.name).iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(vec![caller.clone()], small)).await?;
    let calm_from = stage.journal.now();
    tokio::time::sleep(CALM).await;

    let from = stage.journal.now();
    let (stop, carried, mut beside) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let api = caller.api()?;
    let request = |action: &str, payload: usize| InvokeRequest {
        device_id: name.clone(),
        payload: Bytes::from(payload.to_string()),
        ..call("large", action)
    };
    for _ in 0..LONG {
        let (api, long) = (api.clone(), request("sleep", 20_000));
        beside.spawn(async move { api.call(long).await.map(|_| ()).map_err(|status| status.to_string()) });
    }
    for _ in 0..LARGE {
        let (api, large) = (caller.api()?, request("blob", REPLY_BYTES));
        let (stop, carried) = (stop.clone(), carried.clone());
        beside.spawn(async move {
            while !stop.load(Relaxed) {
                let answer = api.call(large.clone()).await.map_err(|status| status.to_string())?;
                carried.fetch_add(answer.payload.len(), Relaxed);
                tokio::time::sleep(PACE).await;
            }
            Ok(())
        });
    }
    tokio::time::sleep(BESIDE).await;
    let until = stage.journal.now();
    stop.store(true, Relaxed);
    let long_ones = device.running();
    let mut violations = Vec::new();
    // The large ones come back; the long ones are given up, which cancels them.
    while let Ok(Some(ended)) = tokio::time::timeout(Duration::from_millis(500), beside.join_next()).await {
        if let Ok(Err(why)) = ended {
            violations.push(Violation::of("no_call_fails", why));
        }
    }
    drop(beside);
    violations.extend(stage.judge(load).await);
    device.shutdown().await;

    let calls = stage.journal.calls();
    let within = |from: Duration, to: Duration| {
        calls
            .iter()
            .filter(move |call| call.sent_at > from && call.sent_at < to && call.is_quick())
            .collect::<Vec<_>>()
    };
    let took = |calls: &[&CallRecord]| calls.iter().filter_map(|call| call.took()).collect::<Vec<_>>();
    let (calm, met) = (within(calm_from, from), within(from, until));
    violations.extend(failures(&met));
    let carried = carried.load(Relaxed);
    let bite = Bite::when(carried >= 4 * REPLY_BYTES && long_ones >= LONG && met.len() >= 20, || {
        format!("{carried} bytes, {long_ones} long calls, {} small ones", met.len())
    });
    Ok(Outcome::new(bite, violations)
        .measured("call in calm", took(&calm))
        .measured("call beside large ones", took(&met)))
}
