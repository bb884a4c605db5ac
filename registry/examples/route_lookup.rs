//! Measures the registry's tables at a million sessions: look-ups per second, bytes per row, the pause for a snapshot.
//!
//! `cargo run --release -p rollcall-registry --example route_lookup [SESSIONS]`

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rollcall_registry::{
    limits::BATCH_CHANGES,
    model::{
        command::{
            Addresses, Batch, ChangeKind, Command, FoundCluster, FoundingMember, NodeUp, OpenSession,
            SessionChange,
        },
        ids::{
            AttachNumber, BatchNumber, BootCounter, ClusterId, DeviceKey, Incarnation, InstanceId, LogIndex,
            NodeId, Registration, StorageId, UnixMillis,
        },
        profile::Profile,
        state::State,
    },
    routes::view::Route,
};

const NODES: u64 = 3;
const PROFILES: usize = 300;

fn main() {
    let sessions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000_u64);
    let ids: Vec<String> = (0..sessions).map(|number| format!("device-{number:013}")).collect();
    let profiles: Vec<Arc<Profile>> = (0..PROFILES).map(|number| Arc::new(profile(number))).collect();
    let before = resident_bytes();
    let mut log = Log::new();
    let started = Instant::now();
    log.open_all(&ids, &profiles);
    let took = started.elapsed();
    println!("sessions               {sessions}, {PROFILES} profiles, {NODES} nodes");
    println!("opens applied          {:.0} /s", sessions as f64 / took.as_secs_f64());
    println!("bytes per row          {:.1} (resident)", (resident_bytes() - before) as f64 / sessions as f64);
    look_up_alone(&log, &ids);
    look_up_groups(&log);
    list(&log);
    snapshot(&mut log, &ids, &profiles);
    look_up_while_applying(log, ids, profiles);
}

fn profile(number: usize) -> Profile {
    let (site, model) = (format!("site-{}", number % 100), format!("model-{}", number % 7));
    Profile::new(
        ["sign", if number.is_multiple_of(2) { "even" } else { "odd" }],
        [("site", site.as_str()), ("model", model.as_str()), ("os", "linux-6.1")],
        ["echo", "render", "restart"],
        4,
    )
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
        }));
        for id in 1..=NODES {
            log.apply(Command::NodeUp(NodeUp {
                node: NodeId(id),
                storage: StorageId(id.into()),
                boot: BootCounter(1),
                registration: Registration(1),
                addresses: Addresses::default(),
                version: "bench".into(),
                at: UnixMillis(0),
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
            kind: ChangeKind::Open(OpenSession {
                instance: InstanceId(self.index + 1),
                attach_number: AttachNumber(1),
                profile: Arc::clone(&profiles[(at * 7 + position) % profiles.len()]),
                remote_addr: "10.0.0.1:40000".into(),
                only_if: None,
            }),
        };
        Command::Batch(Batch {
            node: NodeId(node + 1),
            incarnation: Incarnation(node + 2),
            number: BatchNumber(number),
            changes: ids.enumerate().map(change).collect(),
            at: UnixMillis(0),
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

fn look_up_alone(log: &Log, ids: &[String]) {
    let routes = log.state.routes();
    // In the order of the walk in memory, so that fetching the question is not measured.
    let asked: Vec<compact_str::CompactString> = walk(ids, 1).take(4_000_000).map(Into::into).collect();
    for _ in 0..3 {
        let (started, ran_before) = (Instant::now(), on_core());
        let held =
            asked.iter().filter(|id| matches!(routes.route("default", id), Route::Held { .. })).count();
        let rate = |took: Duration| asked.len() as f64 / took.as_secs_f64() / 1e6;
        let (by_clock, by_core) = (rate(started.elapsed()), rate(on_core() - ran_before));
        assert_eq!(held, asked.len());
        println!("look-ups, one core     {by_core:.2} M/s of its time ({by_clock:.2} M/s by the clock)");
    }
}

fn look_up_groups(log: &Log) {
    let routes = log.state.routes();
    let mut out = Vec::new();
    let started = Instant::now();
    for _ in 0..2_000 {
        black_box(routes.candidates("default", "sign", "echo", &[("site", "site-7")], &mut out));
    }
    let took = started.elapsed() / 2_000;
    println!("candidates of a group  {took:?} ({PROFILES} profiles x {NODES} nodes in the group)");
}

fn list(log: &Log) {
    let routes = log.state.routes();
    let started = Instant::now();
    let page = routes.devices_after("default", None, &Default::default(), 1_000);
    println!("a page of 1,000        {:?} ({} devices)", started.elapsed(), page.len());
}

fn snapshot(log: &mut Log, ids: &[String], profiles: &[Arc<Profile>]) {
    let started = Instant::now();
    let view = log.state.snapshot();
    println!("State::snapshot()      {:?}", started.elapsed());
    let writer = std::thread::spawn(move || {
        let started = Instant::now();
        let mut bytes = Vec::new();
        view.write(&mut bytes).map(|records| (records, bytes, started.elapsed()))
    });
    let slowest = churn(log, ids, profiles, || writer.is_finished());
    if let Ok(Ok((records, bytes, took))) = writer.join() {
        println!("SnapshotView::write()  {took:?}, {} bytes, {records} records", bytes.len());
        println!("slowest batch meanwhile {slowest:?}");
        let started = Instant::now();
        let restored = State::restore(&mut bytes.as_slice());
        println!("State::restore()       {:?} ({})", started.elapsed(), restored.is_ok());
    }
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

fn look_up_while_applying(mut log: Log, ids: Vec<String>, profiles: Vec<Arc<Profile>>) {
    let routes = log.state.routes();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, ids) = (Arc::clone(&stop), Arc::new(ids));
    let asked = Arc::clone(&ids);
    let reader = std::thread::spawn(move || {
        let (mut look_ups, mut slowest) = (0_u64, Duration::ZERO);
        for id in walk(&asked, 3) {
            let started = Instant::now();
            black_box(routes.route("default", id));
            slowest = slowest.max(started.elapsed());
            look_ups += 1;
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
        (look_ups, slowest)
    });
    let (started, first) = (Instant::now(), log.index);
    let slowest = churn(&mut log, &ids, &profiles, || started.elapsed() > Duration::from_secs(3));
    let changes = (log.index - first) * BATCH_CHANGES as u64;
    let took = started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    println!("reopens applied        {:.0} /s, slowest batch {slowest:?}", changes as f64 / took);
    if let Ok((look_ups, slowest)) = reader.join() {
        let rate = look_ups as f64 / took / 1e6;
        println!("look-ups meanwhile     {rate:.2} M/s, slowest {slowest:?} (clock reads included)");
    }
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
