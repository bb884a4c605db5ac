//! Calls to a group that nobody is in: refused at once, and nothing is left of them. Alone in its binary, because it counts
//! what the whole process allocates.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod world;

use std::{
    alloc::System,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rollcall_router::{Outcome, Pipeline, Reason};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracing::{Event, Metadata, Subscriber, span};
use world::{Cluster, call, registrar::FakeRegistrar};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REFUSALS: u64 = 10_000;
/// What the rest of the process may keep meanwhile: less than a byte for each refusal would be.
const ELSEWHERE_BYTES: usize = 8 * 1024;
/// Allocations of one refusal: the call itself, its names and the answer. It had none of a table, a timer or a task.
const ALLOCATIONS: usize = 8;

/// Counts what is logged.
struct Lines(Arc<AtomicUsize>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().starts_with("rollcall") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// So many calls, a hundred at a time; each is refused.
async fn refuse(pipeline: &mut Pipeline<FakeRegistrar>, calls: u64) {
    for first in (0..calls).step_by(100) {
        (first..first + 100).for_each(|tag| pipeline.start(tag, call()));
        for _ in 0..100 {
            let next = poll_fn(|cx| pipeline.poll_ended(cx));
            let ended = tokio::time::timeout(Duration::from_secs(60), next).await.expect("it ends");
            let failure = ended.result.expect_err("nobody is there");
            assert_eq!((failure.reason, failure.outcome), (Reason::NoDevice, Outcome::NotExecuted));
        }
    }
}

#[tokio::test]
async fn nothing_is_left_of_calls_to_an_empty_group() {
    let cluster = Cluster::start(1).await;
    let lines = Arc::new(AtomicUsize::new(0));
    let _logged = tracing::subscriber::set_default(Lines(Arc::clone(&lines)));
    let mut pipeline = cluster.router(1).pipeline();
    refuse(&mut pipeline, 1_000).await;

    let region = Region::new(ALLOCATOR);
    refuse(&mut pipeline, REFUSALS).await;
    let change = region.change();

    let kept = change.bytes_allocated.saturating_sub(change.bytes_deallocated);
    assert!(kept <= ELSEWHERE_BYTES, "{kept} bytes are kept: {change:?}");
    assert!(change.allocations <= ALLOCATIONS * REFUSALS as usize, "{change:?}");
    assert_eq!((pipeline.len(), cluster.router(1).calls_in_flight()), (0, 0));
    assert_eq!(lines.load(Ordering::Relaxed), 0, "lines are logged");
}
