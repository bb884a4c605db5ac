//! A child: the registry's tables at a million sessions, without log or network.
//!
//! A process of its own, so that its resident memory is the tables' alone.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rollcall_registry::{
    limits::BATCH_CHANGES,
    model::{
        command::{
            Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeUp, SessionChange,
        },
        feature_level::FeatureLevel,
        ids::{
            BatchNumber, BootCounter, ClusterId, DeviceKey, Incarnation, LogIndex, NodeId, Registration,
            StorageId, UnixMillis,
        },
        profile::Profile,
        state::State,
    },
    routes::view::Route,
};
use serde_json::json;

use super::subject;
use crate::children::say;

const NODES: u64 = 3;
/// Look-ups of one sample.
const ASKED: usize = 4_000_000;
/// Devices that are named together.
const BURST: usize = 128;
/// How long look-ups and reopens run beside each other.
const TOGETHER: Duration = Duration::from_secs(3);

/// The child: measures everything once, and says it in one line.
///
/// # Errors
/// A table says something wrong.
pub(crate) fn measure(sessions: u64) -> anyhow::Result<()> {
    let ids: Vec<String> = (0..sessions).map(subject::device_id).collect();
    let profiles = subject::profiles();
    let before = resident_bytes();
    let mut log = Log::new();
    let started = Instant::now();
    log.open_all(&ids, &profiles);
    let opens_per_s = sessions as f64 / started.elapsed().as_secs_f64();
    let row_bytes = (resident_bytes() - before) as f64 / sessions as f64;
    let look_ups = (0..5).map(|round| look_up(&log, &ids, round)).collect::<anyhow::Result<Vec<_>>>()?;
    let together =
        (0..5).map(|round| look_up_together(&log, &ids, round)).collect::<anyhow::Result<Vec<_>>>()?;
    let snapshot = snapshot(&mut log, &ids, &profiles)?;
    let beside = look_up_while_applying(log, ids, profiles)?;
    say(json!({
        "opens_per_s": opens_per_s,
        "row_bytes": row_bytes,
        "look_ups_per_s": look_ups,
        "look_ups_together_per_s": together,
        "look_ups_beside_per_s": beside,
        "snapshot": snapshot,
    }));
    Ok(())
}

/// A state, fed as a leader would.
struct Log {
    state: State,
    index: u64,
    numbers: [u64; NODES as usize],
}

impl Log {
    fn new() -> Self {
        let mut log = Self { state: State::new(), index: 0, numbers: [0; NODES as usize] };
        let members = (1..=NODES).map(|id| FoundingMember {
            node: NodeId(id),
            name: format!("n{id}").into(),
            storage: StorageId(id.into()),
            addresses: Addresses::default(),
        });
        log.apply(Command::FoundCluster(FoundCluster {
            cluster_id: ClusterId(1),
            members: members.collect(),
            token_key: [0; 32],
            epoch_base: 0,
            registration: Default::default(),
        }));
        for id in 1..=NODES {
            log.apply(Command::NodeUp(NodeUp {
                node: NodeId(id),
                storage: StorageId(id.into()),
                boot: BootCounter(1),
                registration: Registration(1),
                addresses: Addresses::default(),
                version: "bench".into(),
                at: UnixMillis(1),
                feature_level: FeatureLevel::NEWEST,
            }));
        }
        log
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        black_box(self.state.apply(LogIndex(self.index), &command));
    }

    fn open_all(&mut self, ids: &[String], profiles: &[Arc<Profile>]) {
        for (at, ids) in ids.chunks(BATCH_CHANGES).enumerate() {
            let batch = self.batch(at, ids.iter().map(String::as_str), profiles);
            self.apply(batch);
        }
    }

    fn batch<'a>(
        &mut self,
        at: usize,
        ids: impl Iterator<Item = &'a str>,
        profiles: &[Arc<Profile>],
    ) -> Command {
        let node = at as u64 % NODES;
        self.numbers[node as usize] += 1;
        let number = self.numbers[node as usize];
        let change = |(position, id)| SessionChange {
            device: DeviceKey::new("default", id),
            kind: ChangeKind::Open(subject::open(
                self.index + 1,
                1,
                &profiles[(at * 7 + position) % profiles.len()],
            )),
        };
        Command::Batch(Batch {
            node: NodeId(node + 1),
            incarnation: Incarnation(node + 2),
            number: BatchNumber(number),
            at: UnixMillis(1),
            changes: ids.enumerate().map(change).collect(),
        })
    }
}

/// A fixed pseudo-random walk over all ids (a linear congruence).
fn walk(ids: &[String], seed: usize) -> impl Iterator<Item = &str> {
    let mut at = seed;
    std::iter::repeat_with(move || {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ids[(at >> 33) % ids.len()].as_str()
    })
}

/// Look-ups a second of one core's time, by a walk in no order.
fn look_up(log: &Log, ids: &[String], round: usize) -> anyhow::Result<f64> {
    let routes = log.state.routes();
    // In the order of the walk in memory, so that fetching the question is not measured.
    let asked: Vec<compact_str::CompactString> = walk(ids, round).take(ASKED).map(Into::into).collect();
    let ran_before = on_core();
    let held = asked.iter().filter(|id| matches!(routes.route("default", id), Route::Held { .. })).count();
    let took = on_core() - ran_before;
    ensure!(held == asked.len(), "{} sessions are lost", asked.len() - held);
    Ok(asked.len() as f64 / took.as_secs_f64())
}

/// The same for devices that are named together. Calls do not ask so yet: each is looked up by itself.
fn look_up_together(log: &Log, ids: &[String], round: usize) -> anyhow::Result<f64> {
    let routes = log.state.routes();
    let asked: Vec<compact_str::CompactString> = walk(ids, round).take(ASKED).map(Into::into).collect();
    let ran_before = on_core();
    let mut held = 0;
    for burst in asked.chunks(BURST) {
        let devices = burst.iter().map(|id| ("default", id.as_str()));
        routes.routes_to(devices, |_, route| held += usize::from(matches!(route, Route::Held { .. })));
    }
    let took = on_core() - ran_before;
    ensure!(held == asked.len(), "{} sessions are lost", asked.len() - held);
    Ok(asked.len() as f64 / took.as_secs_f64())
}

/// A snapshot while batches are applied: how long it took, how long it is, and how long it held apply up.
fn snapshot(log: &mut Log, ids: &[String], profiles: &[Arc<Profile>]) -> anyhow::Result<serde_json::Value> {
    let usual = {
        let begun = Instant::now();
        churn(log, ids, profiles, || begun.elapsed() > Duration::from_secs(1))
    };
    let started = Instant::now();
    let view = log.state.snapshot();
    let taken = started.elapsed();
    let writer = std::thread::spawn(move || {
        let started = Instant::now();
        let mut bytes = Vec::new();
        view.write(&mut bytes).map(|_| (bytes, started.elapsed()))
    });
    let slowest = churn(log, ids, profiles, || writer.is_finished());
    let (bytes, took) = writer.join().ok().context("the writer of the snapshot panicked")??;
    let started = Instant::now();
    State::restore(&mut bytes.as_slice())?;
    Ok(json!({
        "seconds": took.as_secs_f64(),
        "bytes": bytes.len(),
        "pause_ms": taken.as_secs_f64() * 1e3,
        "slowest_batch_ms": slowest.as_secs_f64() * 1e3,
        "slowest_batch_before_ms": usual.as_secs_f64() * 1e3,
        "restore_seconds": started.elapsed().as_secs_f64(),
    }))
}

/// Applies batches of opens until `done`; returns how long the slowest one took.
fn churn(log: &mut Log, ids: &[String], profiles: &[Arc<Profile>], done: impl Fn() -> bool) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut walk = walk(ids, 2);
    let mut at = 0;
    while !done() {
        at += 1;
        let batch = log.batch(at, walk.by_ref().take(BATCH_CHANGES), profiles);
        let started = Instant::now();
        log.apply(batch);
        slowest = slowest.max(started.elapsed());
    }
    slowest
}

/// Look-ups a second on one thread while another applies batches as fast as it can.
fn look_up_while_applying(
    mut log: Log,
    ids: Vec<String>,
    profiles: Vec<Arc<Profile>>,
) -> anyhow::Result<f64> {
    let routes = log.state.routes();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, ids) = (Arc::clone(&stop), Arc::new(ids));
    let asked = Arc::clone(&ids);
    let reader = std::thread::spawn(move || {
        let (mut look_ups, begun) = (0_u64, Instant::now());
        for id in walk(&asked, 3) {
            black_box(routes.route("default", id));
            look_ups += 1;
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        look_ups as f64 / begun.elapsed().as_secs_f64()
    });
    let started = Instant::now();
    churn(&mut log, &ids, &profiles, || started.elapsed() > TOGETHER);
    stop.store(true, Ordering::Relaxed);
    reader.join().ok().context("the reader panicked")
}

/// From `/proc/self/statm`, in pages of 4 KiB.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// How long this thread has run, so that a machine busy with other things can be measured on.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|run| run.parse().ok()).unwrap_or(0))
}
