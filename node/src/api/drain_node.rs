//! `DrainNode`: the node leaves in its turn or at once, and shows how far it is until it stops.

use rollcall_proto::api::{DrainNodeResponse, DrainPhase};
use rollcall_router::Router;
use tokio::{sync::mpsc, time::interval};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{cluster::Cluster, lifecycle::Leaving, limits::DRAIN_SHOWN};

/// How far the drain is, again and again.
pub(super) type Steps = ReceiverStream<Result<DrainNodeResponse, Status>>;

/// What a drain looks at and acts on.
pub(super) struct Drain<C: Cluster> {
    pub(super) cluster: C,
    pub(super) router: Router<C>,
    pub(super) leaving: Leaving<C>,
    /// Cancelled once the node has drained.
    pub(super) drained: CancellationToken,
}

/// Whether a voter waits for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Once they are ready and caught up.
    InTurn,
    /// At once.
    Now,
}

/// Begins a drain. While it waits for its turn, dropping the steps ends it.
pub(super) fn begin<C: Cluster>(drain: Drain<C>, when: When) -> Steps {
    // Who reads slowly misses steps, not the end.
    let (steps, receiver) = mpsc::channel(1);
    tokio::spawn(drain.run(when, steps));
    ReceiverStream::new(receiver)
}

impl<C: Cluster> Drain<C> {
    async fn run(self, when: When, steps: mpsc::Sender<Result<DrainNodeResponse, Status>>) {
        if when == When::InTurn {
            let turn = self.leaving.turn(|reasons| {
                let waits = self.step(DrainPhase::Waiting, reasons.to_vec());
                drop(steps.try_send(Ok(waits)));
            });
            tokio::select! {
                () = turn => {}
                () = steps.closed() => {
                    tracing::info!("an operator gave up waiting for this node's turn to leave");
                    return;
                }
            }
        }
        tracing::info!("an operator drains this node");
        self.leaving.leave();
        let mut shown = interval(DRAIN_SHOWN);
        loop {
            tokio::select! {
                _ = shown.tick() => drop(steps.try_send(Ok(self.step(DrainPhase::Draining, Vec::new())))),
                () = self.drained.cancelled() => break,
                () = steps.closed() => return,
            }
        }
        drop(steps.send(Ok(self.step(DrainPhase::Drained, Vec::new()))).await);
    }

    fn step(&self, phase: DrainPhase, waits_for: Vec<String>) -> DrainNodeResponse {
        let status = self.cluster.status();
        DrainNodeResponse {
            phase: phase as i32,
            waits_for,
            sessions: self.router.device_count() as u64,
            calls_in_flight: self.router.calls_in_flight() as u64,
            leads: status.leader == Some(status.node),
        }
    }
}
