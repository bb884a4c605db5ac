//! Row 16: a device takes calls, reads slowly, and never answers. Only its own calls fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use rollcall_proto::{api::InvokeRequest, device::attach_response::Frame};
use tokio::task::JoinSet;

use super::{Bite, Most, Outcome, Row, Target, row_01_follower_killed::failures};
use crate::{
    RawDevice, RawProfile, SPREAD_PATIENCE, call,
    history::{CallRecord, Ending},
    invariants::Violation,
    stage::{Ground, LoadPlan, Stage},
};

/// Calls to the device that never answers: far beyond what it takes at once and what may wait for it.
const CALLS: usize = 60;
const CALM: Duration = Duration::from_secs(1);
const TIMEOUT_SECONDS: i64 = 3;

/// The row.
pub(super) const ROW: Row = Row {
    number: 16,
    event: "a device that reads slowly or never answers",
    grounds: &[Ground::Loopback],
    bites_wanted: 20,
    targets: &[Target { sample: "call beside it", most: Most::Times(2, "call in calm") }],
    play: |stage| play(stage).boxed_local(),
};

async fn play(stage: &mut Stage) -> anyhow::Result<Outcome> {
    let (_, caller, holder) = stage.cluster.leader_and_two_others().await?;
    let name = format!("mute-{:?}", stage.journal.now());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let (mut device, _) = RawDevice::attached(&holder.device_url(), &RawProfile::new(&name, "mute")).await?;
    stage.cluster.caught_up(SPREAD_PATIENCE).await?;
    let beside = stage.devices_on(&holder.name).iter().map(|device| device.device_id.clone()).collect();
    let load = stage.load(LoadPlan::new(vec![caller.clone()], beside)).await?;
    let calm_from = stage.journal.now();
    tokio::time::sleep(CALM).await;

    let from = stage.journal.now();
    let (api, mut waiting) = (caller.api()?, JoinSet::new());
    for _ in 0..CALLS {
        let request = InvokeRequest {
            device_id: name.clone(),
            payload: Bytes::from(vec![b'x'; 20_000]),
            timeout: Some(prost_types::Duration { seconds: TIMEOUT_SECONDS, nanos: 0 }),
            ..call("mute", "echo")
        };
        let api = api.clone();
        waiting.spawn(async move { api.call(request).await.map(|_| ()).map_err(Ending::of_failure) });
    }
    // It answers pings, takes what it is sent slowly, and says nothing.
    let reading = tokio::spawn(async move {
        let mut taken = 0;
        while let Ok(Some((_, frame))) = device.hear().await {
            taken += usize::from(matches!(frame, Frame::Call(_)));
            tokio::time::sleep(Duration::from_millis(50)).await;
            counted.store(taken, Relaxed);
        }
    });
    let ended = waiting.join_all().await;
    reading.abort();
    let taken = taken.load(Relaxed);
    let until = stage.journal.now();
    let mut violations = Vec::new();
    for ending in &ended {
        match ending {
            Ok(()) => {
                violations.push(Violation::of("only_answers_are_answers", "it never answered".to_owned()))
            }
            Err(Ending::Refused { .. }) => {}
            Err(other) => violations.push(Violation::of("failures_are_typed", format!("{other:?}"))),
        }
    }
    violations.extend(stage.judge(load).await);
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
    let bite = Bite::when(taken > 0 && ended.len() == CALLS && met.len() >= 20, || {
        format!("it took {taken} calls, {} ended, {} others met it", ended.len(), met.len())
    });
    Ok(Outcome::new(bite, violations)
        .measured("call in calm", took(&calm))
        .measured("call beside it", took(&met)))
}
