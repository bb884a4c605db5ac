//! Every bound of this crate, with its reason.

use std::time::Duration;

/// Calls in flight on one node, counted where they enter it; more are `OVERLOADED`. At 2 KB each that is 400 MB.
pub const CALLS_IN_FLIGHT: usize = 200_000;
/// The largest payload of a call or reply by default: larger ones belong into an object store.
pub const PAYLOAD_BYTES: usize = 16 * 1024 * 1024;
/// Longer payloads travel in chunks of this size: at 1 Gbit/s a chunk delays a small frame by half a millisecond.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Small frames that go out between two chunks, so that bulk neither starves nor delays them.
pub const SMALL_FRAMES_PER_CHUNK: u32 = 16;
/// Nodes that a group call tries while nothing was executed; the last of them may queue it.
pub const PLACEMENT_ATTEMPTS: u32 = 3;

/// Timeouts in a row after which a device's handlers are asked whether they are alive. One or two are a slow action.
pub const SUSPECT_TIMEOUTS: u32 = 3;
/// How long a cancelled call may keep its place before the device is suspect: agents stop handlers within half a second.
pub const UNRETURNED: Duration = Duration::from_secs(5);
/// How long a health call may take. It does nothing; a phone's pauses and a lost packet are shorter.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(3);
/// The least between two health calls of a device. Doubles while it is ejected.
pub const PROBE_PAUSE: Duration = Duration::from_secs(1);
/// The most between two health calls of an ejected device: a device that was repaired waits no longer than that.
pub const PROBE_PAUSE_MOST: Duration = Duration::from_secs(30);
/// How long a device that came back takes to its full share: long enough to fail before it has it.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// Its share at first.
pub const SLOW_START_LEAST_PERCENT: u32 = 10;

/// How often a node looks how hard it is pressed.
pub const PRESSURE_SAMPLE: Duration = Duration::from_millis(50);
/// How far back its pressure reaches: a burst of work passes, a second of it counts.
pub const PRESSURE_MEMORY: Duration = Duration::from_secs(1);
/// The lag of a task that means full pressure: heartbeats, leases and links would soon be late.
pub const LAG_MOST: Duration = Duration::from_millis(500);
/// The pressure in percent from which on a node's peers spare it: of two nodes that are drawn for a group's call, the other
/// one gets it.
pub const PRESSED_PERCENT: u32 = 60;
/// The least that whoever is refused is told to wait.
pub const RETRY_AFTER_LEAST: Duration = Duration::from_millis(100);
/// The most. Longer, and callers and agents would rather ask elsewhere.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(30);
/// Attaches per second that a node admits by default, and connections: 10,000 devices of a lost node are back on two others
/// within the resume window, and calls to other devices go on meanwhile. `bench storm --connect-rate` compares rates, on two
/// cores that devices and callers share: all back in 11 s with a p99 of 20 ms; at twice the rate in 7 s with 100 ms.
pub const CONNECTS_PER_SECOND: u32 = 500;
/// How long the node may have been idle to admit more at once: two seconds' worth.
pub const CONNECT_BURST: Duration = Duration::from_secs(2);
/// Sites that a node watches for correlated loss; devices of further ones are lost one by one.
pub const SITES: usize = 16_384;
/// Devices of a site that are lost together at least before the others are doubted: fewer are chance.
pub const SITE_LOSS_LEAST: u32 = 5;
/// What "together" means: the heartbeats of one site's devices are spread over an interval.
pub const SITE_LOSS_WINDOW: Duration = Duration::from_secs(5);
/// How long a site counts as lost at most: then whoever calls it is told what is true of each device.
pub const SITE_LOSS_MOST: Duration = Duration::from_secs(30);
/// When calls for a lost site may come again: an access point takes longer to start.
pub const SITE_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a peer's word on the load of its devices counts. Replies and refusals renew it; where none come, the peer
/// is tried again instead of being believed full for ever.
pub const LOAD_HINT_FRESH: Duration = Duration::from_secs(1);
/// Groups of which a node remembers the load on one peer; of further ones it knows its own calls only while they run.
pub const LOAD_HINTS: usize = 4_096;

/// How often a device may be taken over by another agent process before whoever has it keeps it for a while: a device that
/// was restarted, and one that was replaced.
pub const TAKEOVERS_FREE: u32 = 2;
/// How long it is kept then. Twice as long each time.
pub const TAKEOVER_KEEP_LEAST: Duration = Duration::from_secs(2);
/// The longest. Of several devices with one id each gets its turn, so that the true one is not kept out for ever.
pub const TAKEOVER_KEEP_MOST: Duration = Duration::from_secs(300);
/// How long a takeover is remembered: two turns.
pub const TAKEOVER_MEMORY: Duration = Duration::from_secs(600);
/// How long one that was let in may need until it has taken over: a commit, usually within milliseconds.
pub const TAKEOVER_EXPECTED: Duration = Duration::from_secs(2);
/// How often the log says that devices take one id from each other, for each of them.
pub const TAKEOVERS_TOLD: Duration = Duration::from_secs(60);
/// Devices whose takeovers are remembered, some 150 bytes each; others are let in as if it were the first time.
pub const CONTESTS: usize = 4_096;
/// How often they are looked through for those that can be forgotten, and how long at least each is remembered.
pub const CONTESTS_SWEPT: Duration = Duration::from_secs(10);
/// How long a device may take to answer a ping before another process of its id is let in.
pub const DOUBT_PATIENCE: Duration = Duration::from_secs(3);
/// How long that may take if another node has the device: until it has ended the session, too.
pub const DOUBT_ELSEWHERE_PATIENCE: Duration = Duration::from_secs(5);
/// How often a device is pinged for that reason at most, unless it was taken over since: an answer holds for a while.
pub const DOUBT_EVERY: Duration = Duration::from_secs(15);
/// How often it is looked whether it has answered.
pub const DOUBT_LOOK: Duration = Duration::from_millis(50);

/// Calls that wait for room on one device: more than a device works off in a deadline is a lie to the caller.
pub const DEVICE_QUEUE: usize = 16;
/// Devices of a group that the holder compares before it takes the least loaded one that has room.
pub const PICK_SAMPLE: usize = 32;

/// Devices on one connection: a site controller with a large site behind it.
pub const SLOTS_PER_CONNECTION: u32 = 1_024;
/// Control frames that wait for one connection; a connection that lets more pile up is cut (`TOO_SLOW`).
pub const OUTBOX_CONTROL_FRAMES: usize = 4_096;
/// Bytes of half-received results on one connection whose agent waits for credit; the others wait at the agent. A larger one
/// has all of it alone: as long as the longest payload by default.
pub const DEVICE_ROOM_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of half-received results on one connection whose agent does not wait for credit; further ones are given up
/// (`OVERLOADED`).
pub const ASSEMBLY_BYTES: u64 = 1024 * 1024 * 1024;
/// How often the node pings a connection by default; two intervals of silence drop it.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// The sweep over all connections runs this many times per heartbeat interval.
pub const SWEEPS_PER_HEARTBEAT: u32 = 4;
/// The pause between two steps of a sweep: pings that fall into one step go out together.
pub const SWEEP_STEP: Duration = Duration::from_millis(20);
/// Attaches that wait for their commit on one node; more are refused with a retry-after.
pub const OPENINGS: usize = 10_000;
/// How long an attach waits for its commit before the agent is sent elsewhere.
pub const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// How long at least, by default, calls wait for a device whose connection was lost, and a session for its device.
pub const RESUME_WINDOW: Duration = Duration::from_secs(10);
/// The longest first pause of an agent that has lost its connection.
pub const RECONNECT_JITTER: Duration = Duration::from_millis(200);
/// What a returning device may need for its dial, its greeting and its attach.
pub const RECONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Calls that an attach may name as begun earlier: all that run at full capacity, and as many that have ended. Of
/// longer lists the rest is ignored, and nothing follows from what they do not name.
pub const RETURNED_CALLS: usize = 2 * CAPACITY as usize;
/// Answers for nodes that cannot be reached now; beyond it the oldest is given up.
pub const HELD_REPLAYS: usize = 4_096;
/// Bytes of such answers.
pub const HELD_REPLAYS_BYTES: u64 = 64 * 1024 * 1024;
/// Long answers of returned devices that arrive over one link at once: several slots' worth, one each; more are dropped.
pub const ARRIVING_REPLAYS: usize = 256;
/// How long a node waits for the session that it is asked about to be open.
pub const QUESTION_PATIENCE: Duration = Duration::from_secs(2);
/// A group's call that lasts this long is worth telling its origin which device has it.
pub const PICKED_AFTER: Duration = Duration::from_millis(100);
/// When a device that a node without its lease refused may ask it again: a beat of the leader's, which may bring it back.
pub const LAPSED_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a superseded session of the same instance may deliver results.
pub const RETIRE_GRACE: Duration = Duration::from_secs(60);
/// After the last device was to move, how long at least before a drain closes idle ones.
pub const DRAIN_SETTLE: Duration = Duration::from_secs(1);
/// Sessions that are announced again at once after a lapse of this node: a batch of the registry.
pub const ANNOUNCED_AT_ONCE: usize = 1_000;
/// How soon the announcer looks again for streams that have answered, and for a leader.
pub const ANNOUNCE_AGAIN: Duration = Duration::from_millis(100);
/// Sessions of this node that apply reports and nobody waits for; beyond this the lease's end cleans up.
pub const ORPHANS: usize = 16_384;

/// Bytes of a namespace, device id, group, action or label.
pub const NAME_BYTES: usize = 128;
/// Groups of a device.
pub const GROUPS: usize = 16;
/// Labels of a device.
pub const LABELS: usize = 32;
/// Actions of a device.
pub const ACTIONS: usize = 256;
/// Calls that a device takes at once.
pub const CAPACITY: u32 = 65_536;
/// Bytes of a handler's error message; the rest is cut off.
pub const ERROR_MESSAGE_BYTES: usize = 4 * 1024;

/// Connections to each peer: one mutex per HTTP/2 connection is the limit of one.
pub const LINKS_PER_PEER: usize = 2;
/// Frames that wait on one link; a call that finds more is refused at once.
pub const LINK_QUEUE_FRAMES: usize = 65_536;
/// Bytes that wait on one link; a call that finds more is refused at once.
pub const LINK_QUEUE_BYTES: u64 = 256 * 1024 * 1024;
/// Calls in flight that a node accepts over one link.
pub const LINK_CALLS: usize = 100_000;
/// Frames of one packet: amortises HTTP/2's cost per message.
pub const PACKET_FRAMES: usize = 512;
/// Bytes after which a packet is closed. With one frame more it stays below tonic's 4 MiB.
pub const PACKET_BYTES: usize = 128 * 1024;
/// Bytes of payloads above [`CHUNK_BYTES`] that may be half received on one link; those of further calls wait at their
/// sender for credit, and delay nobody. A larger payload has all of it alone.
pub const LINK_ROOM_BYTES: u64 = 64 * 1024 * 1024;
/// How often a link beats.
pub const LINK_BEAT: Duration = Duration::from_millis(200);
/// A link silent for this long takes no new calls.
pub const LINK_SILENT: Duration = Duration::from_millis(750);
/// A link silent for this long is broken: its calls end and it is dialled again. Below a node's lease.
pub const LINK_DEAD: Duration = Duration::from_secs(3);
/// How long a dial may take.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(1);
/// The first pause between dials; doubles.
pub const DIAL_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause between dials.
pub const DIAL_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How often the list of peers is compared with the registry, beside each change of a node.
pub const PEER_REVIEW: Duration = Duration::from_secs(1);
/// HTTP/2 windows of a link: a stream must hold several chunks of several calls.
pub const LINK_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// How often the gateway tries an idempotent call again by itself.
pub const RETRIES: u32 = 3;
/// Retries that a node may make at once; each idempotent call pays in a fifth of one.
pub const RETRY_BUDGET: u32 = 1_000;
/// Further nodes or devices that a node's calls to groups may try at once; each such call pays in a fifth of one, so that a
/// full cluster is asked a fifth more often at most.
pub const DETOUR_BUDGET: u32 = 1_000;
/// How long an idempotent call whose execution is unknown waits for its device to come back.
pub const RETRY_PATIENCE: Duration = Duration::from_secs(10);
/// How often at least such a call looks for its device.
pub const RETRY_RECHECK: Duration = Duration::from_millis(100);
/// Bytes of replies of idempotent calls that a holder keeps; beyond it the oldest is given up (`REPLY_LOST`).
pub const KEPT_REPLIES_BYTES: u64 = 64 * 1024 * 1024;
/// Idempotent calls that a holder remembers after their execution; beyond it the oldest is forgotten.
pub const KEPT_NAMES: usize = 65_536;
/// How long a holder remembers an idempotent call after its execution: a caller's deadline and those of its retries.
pub const KEPT_FOR: Duration = Duration::from_secs(120);
/// Calls that wait for one execution of an idempotent call; more are `OVERLOADED`.
pub const JOINED_CALLS: usize = 64;

/// How long a holder waits for its own replica to reach the index by which a call was routed.
pub const ROUTE_PATIENCE: Duration = Duration::from_millis(100);
/// How long past the deadline the caller's node waits for the holder's word on where the time ran out.
pub const DEADLINE_WORD: Duration = Duration::from_millis(30);
/// Calls that wait for a device to connect, on one node; more are `OVERLOADED`.
pub const CONNECT_WAITERS: usize = 10_000;
/// How often at most a waiting call looks for its device again.
pub const CONNECT_RECHECK: Duration = Duration::from_millis(10);

/// How often at least it looks: a device that comes back to its session on another node is not heard of here.
pub const AWAY_RECHECK: Duration = Duration::from_millis(500);
/// Broadcasts that run at once on one node; more are `OVERLOADED`.
pub const BROADCASTS: usize = 8;
/// Devices of one broadcast: more belong into several, by label. With ids of 20 bytes these are 24 MB.
pub const BROADCAST_TARGETS: usize = 1_000_000;
/// Bytes of the ids of one broadcast's devices: only ids of more than 60 bytes on average come to it.
pub const BROADCAST_ID_BYTES: usize = 64 * 1024 * 1024;
/// Calls that one broadcast sends in a second, at most and by default: a tenth of what a node carries.
pub const BROADCAST_RATE: u32 = 10_000;
/// Delay of a broadcast's calls that is made up for in a burst: some ticks of the timer.
pub const BROADCAST_SLACK: Duration = Duration::from_millis(10);
/// Calls of one broadcast in flight at once, unless it asks for others: enough for the rate at 25 ms a call.
pub const BROADCAST_IN_FLIGHT: u32 = 256;
/// Calls of one broadcast in flight at once, at most: at 2 KB each these are 8 MB.
pub const BROADCAST_IN_FLIGHT_MOST: u32 = 4_096;
/// Bytes of a broadcast's results that its reader has not taken, beyond which nothing is sent.
pub const BROADCAST_HELD_BYTES: u64 = 32 * 1024 * 1024;
/// How often a broadcast calls a device that surely did not execute it and may be elsewhere in a moment.
pub const BROADCAST_ATTEMPTS: u32 = 3;
/// How long such a device waits before it is called again: an agent's first reconnect takes less.
pub const BROADCAST_PAUSE: Duration = Duration::from_secs(1);
/// Devices of one broadcast that wait so; the failures of further ones are final.
pub const BROADCAST_AGAIN: usize = 65_536;
/// Results between a broadcast and its transport.
pub const BROADCAST_CHANNEL: usize = 32;
/// The longest that a broadcast may take: a million devices at 300 a second.
pub const BROADCAST_LONGEST: Duration = Duration::from_secs(3_600);
/// A node that has no more than this above its share of the devices keeps them: moving a few helps nobody.
pub const BALANCE_TOLERANCE_PERCENT: u64 = 10;

const _: () = assert!(CHUNK_BYTES <= PAYLOAD_BYTES);
const _: () = assert!(PACKET_BYTES + CHUNK_BYTES < 4 * 1024 * 1024);
const _: () = assert!(PROBE_PAUSE.as_millis() < PROBE_PATIENCE.as_millis());
const _: () = assert!(TAKEOVER_KEEP_MOST.as_secs() < TAKEOVER_MEMORY.as_secs());
const _: () = assert!(DOUBT_PATIENCE.as_secs() < DOUBT_ELSEWHERE_PATIENCE.as_secs());
const _: () = assert!(RETRY_AFTER_LEAST.as_millis() < RETRY_AFTER_MOST.as_millis());
const _: () = assert!(LINK_BEAT.as_millis() * 3 <= LINK_SILENT.as_millis());
const _: () = assert!(LINK_SILENT.as_millis() < LINK_DEAD.as_millis());
const _: () = assert!(BROADCAST_IN_FLIGHT <= BROADCAST_IN_FLIGHT_MOST);
const _: () = assert!(BROADCAST_ID_BYTES <= u32::MAX as usize);
