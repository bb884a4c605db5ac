//! Every bound of this crate, with its reason.

use std::time::Duration;

/// The oldest protocol the agent speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// The newest protocol the agent speaks.
pub const PROTOCOL_MAX: u32 = 1;

/// Bytes of a namespace, device id, group, action, or label's key or value: the protocol's bound.
pub const NAME_BYTES: usize = 128;
/// Groups of a device: the protocol's bound.
pub const GROUPS: usize = 16;
/// Labels of a device: the protocol's bound.
pub const LABELS: usize = 32;
/// Actions of a device: the protocol's bound.
pub const ACTIONS: usize = 256;
/// Calls that a device takes at once: the protocol's bound.
pub const CAPACITY: u32 = 65_536;
/// Bytes of a handler's error message: the protocol's bound. The rest is cut off.
pub const ERROR_MESSAGE_BYTES: usize = 4 * 1024;
/// The largest payload before a node has said its own limit.
pub const PAYLOAD_BYTES: u64 = 16 * 1024 * 1024;
/// The chunk size before a node has said its own; also where one that says 0 ends up.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// The largest frame that is decoded: a chunk, or a call's names and metadata, with room.
pub const FRAME_BYTES: usize = 8 * 1024 * 1024;

/// Frames that wait for one connection. More than every call's answer at full capacity: a node that lets it fill
/// does not read, and the connection is dropped.
pub const OUTBOX_FRAMES: usize = 2 * CAPACITY as usize;
/// Small frames that go out between two chunks, so that bulk is delayed but never starved.
pub const SMALL_FRAMES_PER_CHUNK: u32 = 16;
/// Batches of frames read ahead of the worker. The worker never waits for a handler, so this only smooths bursts.
pub const INBOX_BATCHES: usize = 16;
/// Frames of one batch.
pub const INBOX_BATCH: usize = 256;

/// Bytes of calls' payloads that may be half received, on all connections; those of further calls wait at their nodes, if they
/// wait for credit. A larger one has all of it alone.
pub const ROOM_BYTES: u64 = 16 * 1024 * 1024;

/// How long a connection may take to be dialled, its RPC to be accepted included.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(5);
/// How long a node may take to answer Hello.
pub const WELCOME_PATIENCE: Duration = Duration::from_secs(10);
/// How long a node may take to answer Attach. It waits up to 10 s for its own commit.
pub const ATTACH_PATIENCE: Duration = Duration::from_secs(15);
/// The heartbeat interval where a node says none.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Intervals of silence after which a connection is dropped: the protocol's number.
pub const SILENT_INTERVALS: u32 = 2;
/// HTTP/2 keepalive: finds a dead network path even where no heartbeat is due.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long an HTTP/2 keepalive may stay unanswered.
pub const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(10);

/// The pause after the first failed round of servers; it doubles with each round.
pub const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause between two dials.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The wait after `SUPERSEDED` and `FORBIDDEN`: two devices with one id must not fight.
pub const MINUTE: Duration = Duration::from_secs(60);
/// An attachment that lasted this long starts the back-off afresh; a shorter one counts as a failure.
pub const STABLE: Duration = Duration::from_secs(5);
/// A connection without any session is kept while the next attach is nearer than this.
pub const IDLE_LINK: Duration = Duration::from_secs(5);
/// How long an old connection may deliver the results of its calls after the move to a new one.
pub const RETIRE_GRACE: Duration = Duration::from_secs(60);
/// How long a connection may take to end after the last frame was handed to it.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// How long past its deadline a handler may run: the node cancels it at the deadline, and knows the caller's clock better.
pub const DEADLINE_SLACK: Duration = Duration::from_millis(500);
/// How long running handlers may go on after `shutdown`.
pub const STOP_GRACE: Duration = Duration::from_secs(10);
/// Addresses learned from nodes that are kept, beside the configured ones.
pub const LEARNED_SERVERS: usize = 32;

/// Results of one connection's devices that could not be sent and wait for the next attach.
pub const KEPT_RESULTS: usize = 4_096;
/// Bytes of all kept results.
pub const KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// How long an unsent result is kept: callers rarely wait longer.
pub const KEPT_FOR: Duration = Duration::from_secs(60);
/// Results that were sent, but perhaps into a dead connection: kept until silence would have shown that.
pub const SENT_RESULTS: usize = 256;
/// Heartbeat intervals within which a node has noticed a dead connection: after two, and it looks a little later. A sent
/// result is kept so long and the node's resume window beyond, because that is how long its caller waits.
pub const NOTICED_INTERVALS: u32 = 3;
/// Bytes of all sent results that are kept: some dozens of half a megabyte. At the bound the oldest is given up.
pub const SENT_BYTES: u64 = 16 * 1024 * 1024;
/// How long calls wait for their device where a node does not say.
pub const RESUME_WINDOW: Duration = Duration::from_secs(10);
/// Calls that have run and are remembered by their tokens for as long as they may be waited for, 100 bytes each: 2,000 a
/// second for half a minute.
pub const PAST_CALLS: usize = 65_536;

/// Idempotent calls that are remembered after they ran; beyond it the oldest is forgotten.
pub const ONCE_NAMES: usize = 4_096;
/// Bytes of their results; beyond it the oldest is given up, and the same call again is refused as `REPLY_LOST`.
pub const ONCE_BYTES: u64 = 16 * 1024 * 1024;
/// How long an idempotent call is remembered after it ran: a caller's deadline and those of its retries.
pub const ONCE_FOR: Duration = Duration::from_secs(120);
/// Calls that wait for one execution beside the first; more are refused as busy.
pub const ONCE_JOINED: usize = 64;

/// The longest that the handler `block` blocks: a drill that was forgotten ends by itself.
pub const BLOCK_MOST: Duration = Duration::from_secs(600);
/// Threads that the binary's handlers run on. None of them blocks but `block`, which is to be noticed.
pub const HANDLER_THREADS: usize = 1;

/// Bytes of standard error that an `exec:` handler's failure shows.
pub const STDERR_TAIL_BYTES: usize = 4 * 1024 - 256;

const _: () = assert!(SENT_RESULTS <= KEPT_RESULTS);
const _: () = assert!(CHUNK_BYTES * 2 <= FRAME_BYTES);
const _: () = assert!(STDERR_TAIL_BYTES < ERROR_MESSAGE_BYTES);
const _: () = assert!(BACKOFF_MIN.as_millis() < BACKOFF_MAX.as_millis());
