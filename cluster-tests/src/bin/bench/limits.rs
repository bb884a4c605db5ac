//! Every bound and duration of the benchmark, with its reason.

use std::time::Duration;

/// Pairs of measurements, interleaved: the machine's moods fall on both sides.
pub(crate) const ROUNDS: usize = 5;
/// How long one sample of a rate is measured: several heartbeats, several flushes.
pub(crate) const SAMPLE: Duration = Duration::from_millis(1_500);
/// Load before a sample counts: connections are made, tables have grown.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);
/// How long the number of connections is tried out, per number and side.
pub(crate) const TUNING: Duration = Duration::from_millis(500);
/// How long callers may take to end after a sample; longer, a call is lost.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(35);
/// How long a child may take to say a line: a million sessions on a machine that others use too.
pub(crate) const CHILD_PATIENCE: Duration = Duration::from_secs(300);

/// Callers that wait for their answers at the same time.
pub(crate) const CALLERS: usize = 256;
/// The most that are in flight where callers pipeline.
pub(crate) const PIPELINED: usize = 1_024;
/// Numbers of connections of which the best is taken, on both sides.
pub(crate) const CONNECTIONS: [usize; 3] = [1, 2, 4];
/// The payload of an ordinary call, in bytes.
pub(crate) const PAYLOAD_BYTES: usize = 100;
/// The payload of a large reply, in bytes.
pub(crate) const LARGE_BYTES: usize = 500_000;
/// Callers that ask for large replies.
pub(crate) const LARGE_CALLERS: usize = 8;
/// Small calls per second beside large ones.
pub(crate) const SMALL_RATE: f64 = 500.0;
/// The largest message: a large reply with room.
pub(crate) const MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Devices on each node.
pub(crate) const DEVICES_PER_NODE: usize = 4;
/// Calls that one device takes at once: all that are ever in flight, so that capacity is never the limit.
pub(crate) const DEVICE_CAPACITY: u32 = 4_096;
/// Calls in flight through one node at the same time.
pub(crate) const IN_FLIGHT: usize = 100_000;
/// Streams that carry them: one takes 10,000.
pub(crate) const IN_FLIGHT_STREAMS: usize = 16;
/// How long it may take until all of them are in flight.
pub(crate) const IN_FLIGHT_PATIENCE: Duration = Duration::from_secs(15);
/// How long each of them lasts: as the longest real calls.
pub(crate) const CALL_LASTS: Duration = Duration::from_secs(20);
/// Calls that a device takes at once that is to take very many: the most that a device may say.
pub(crate) const WIDE_CAPACITY: u32 = 65_536;
/// Device connections whose memory is looked at.
pub(crate) const IDLE_CONNECTIONS: usize = 4_000;
/// Connections of many devices each.
pub(crate) const SHARED_CONNECTIONS: usize = 8;
/// Connections that are made at the same time.
pub(crate) const CONNECTING: usize = 64;
/// Devices of a node that dies.
pub(crate) const STORM_DEVICES: usize = 10_000;
/// How many of them open at the same time before that.
pub(crate) const STORM_OPENING: usize = 256;
/// How long calls to other devices are looked at, before and from the moment at which the node dies: longer than its
/// devices need to come back.
pub(crate) const STORM_CALLS: Duration = Duration::from_secs(15);
/// How long the ancestor's load runs before anything happens: longer than its longest calls.
pub(crate) const HERMES_CALM: Duration = Duration::from_secs(30);
/// How long an access point is dead.
pub(crate) const HERMES_DEAD: Duration = Duration::from_secs(60);
/// How long the load goes on after that.
pub(crate) const HERMES_AFTER: Duration = Duration::from_secs(30);
/// The ancestor's short calls a second.
pub(crate) const SIGNATURE_RATE: f64 = 2_000.0;
/// The ancestor's long calls a second.
pub(crate) const BUSINESS_RATE: f64 = 250.0;
/// Calls that a phone takes at once: all of its long ones, twice, and short ones beside.
pub(crate) const PHONE_CAPACITY: u32 = 256;
/// After which the next app of a site restarts: each of them about twice in three minutes.
pub(crate) const APP_RESTART: Duration = Duration::from_secs(3);
/// Workers of the dispatcher with a lock, as the ancestor had.
pub(crate) const DISPATCHERS: usize = 20;
/// Pauses before a lock that is held is tried again, of which the best is taken.
pub(crate) const LOCK_RETRIES: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(5), Duration::from_millis(20)];
/// After which a lock is free again whose holder died.
pub(crate) const LOCK_LEASE: Duration = Duration::from_secs(5);
/// HTTP/2 windows of all clients: a large reply in one round trip.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// HTTP/2 windows of all clients' connections.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Session changes outstanding altogether, the same on both sides: what a storm of reconnects brings.
pub(crate) const OUTSTANDING: usize = 3_072;
/// As many as three nodes' queues hold comfortably.
pub(crate) const OUTSTANDING_DEEP: usize = 24_000;
/// Nodes of the cluster that is measured.
pub(crate) const FOUNDERS: usize = 3;
/// Sessions that are being opened at once on a node to fill the cluster: half of what its queue holds.
pub(crate) const FILL_OUTSTANDING: usize = 10_000;
/// The number of the first device that fills a node: beyond those that open and close.
pub(crate) const FILL_FIRST: u64 = 1 << 24;
/// Keys in one of etcd's transactions, its own limit.
pub(crate) const TXN_KEYS: usize = 128;
/// Session changes a second, open loop.
pub(crate) const CHANGE_RATE: usize = 1_000;
/// How long they go on: enough of them for a 99th percentile.
pub(crate) const CHANGE_WINDOW: Duration = Duration::from_secs(3);
/// Devices on each connection to a real node: as many as it takes on one.
pub(crate) const SLOTS: u32 = 1_024;
/// Sessions in the tables that are looked at.
pub(crate) const SESSIONS: u64 = 1_000_000;
/// How much more the last third of a long run may take than the third before and still be flat: the disk's size goes up
/// and down with each snapshot.
pub(crate) const CHURN_GROWTH_PERCENT: f64 = 10.0;
/// How often a long run writes a line of progress.
pub(crate) const CHURN_LINE: Duration = Duration::from_secs(10);
