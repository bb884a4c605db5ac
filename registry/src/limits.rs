//! Every bound of this crate, with its reason.

use std::time::Duration;

/// The most changes in one batch. Keeps an entry's apply below a few milliseconds.
pub const BATCH_CHANGES: usize = 1_000;
/// The most bytes of changes in one batch, encoded.
pub const BATCH_BYTES: usize = 256 * 1024;
/// How long a batch gathers while another one is in flight. With nothing in flight there is no waiting.
pub const BATCH_LINGER: Duration = Duration::from_millis(2);
/// Changes that may wait for a batch; more are refused with a retry-after.
pub const BATCH_QUEUE: usize = 20_000;
/// Bits of an epoch that count positions in a batch.
pub const EPOCH_POSITION_BITS: u32 = 12;
/// Events kept for watchers that resume; older cursors are told so.
pub const WATCH_HISTORY: usize = 65_536;

/// The largest value in sled: larger ones go to blob files that are never fsynced (measured: 8 KB none, 20 KB some).
pub const LOG_VALUE_BYTES: usize = 6 * 1024;
/// The most entries in one log chunk.
pub const LOG_CHUNK_ENTRIES: usize = 32;
/// sled's page cache. The default is 1 GiB.
pub const LOG_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Appends in flight to the log's writer: with two, openraft merges writes (131k/s instead of 84k/s at 1,024 clients).
pub const LOG_APPENDS_IN_FLIGHT: usize = 2;

/// Votes, truncations and purges waiting for the log's writer; a further one waits for room.
pub const LOG_CONTROLS_QUEUED: usize = 64;
/// The largest log entry. A batch of [`BATCH_BYTES`] fits four times; one entry always fits an append RPC.
pub const LOG_ENTRY_BYTES: usize = 1024 * 1024;
/// Entry bytes gathered into one flush: bounds how long the first of them waits for the last.
pub const LOG_FLUSH_BYTES: usize = 8 * 1024 * 1024;
/// The largest atomic write into sled. A longer append is written as several, then flushed once.
pub const LOG_WRITE_BYTES: usize = 2 * 1024 * 1024;
/// Keys deleted in one atomic write when the log is purged or truncated.
pub const LOG_WRITE_DELETES: usize = 1_024;
/// Entry bytes that one read of the log returns, unless a single entry is larger: an append RPC stays below 2 MiB.
pub const LOG_READ_BYTES: usize = 1024 * 1024;
/// Decoded entries kept for apply and replication, by their encoded size.
pub const LOG_RECENT_BYTES: usize = 8 * 1024 * 1024;
/// How long the log's mark of what was acknowledged may stay unsynced; also when an idle log notes the committed index.
pub const LOG_MARK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an opening log waits for threads of a log that this process closed just before.
pub const LOG_RELEASE_WAIT: Duration = Duration::from_secs(5);
/// The largest identity file that is read.
pub const IDENTITY_BYTES: u64 = 1024 * 1024;

/// How long a node's lease lasts, counted by the node from when it sends the beat.
pub const LEASE_TTL: Duration = Duration::from_secs(4);
/// How often a node beats.
pub const LEASE_BEAT: Duration = Duration::from_millis(1_000);
/// A leader whose own tick comes later than this grants all leases anew: it may have slept.
pub const LEASE_TICK_LATE: Duration = Duration::from_millis(500);
/// How much earlier than its lease ends a node takes it for lapsed.
pub const LEASE_MARGIN: Duration = Duration::from_millis(500);

const _: () = assert!(BATCH_BYTES < LOG_ENTRY_BYTES);
const _: () = assert!(LOG_ENTRY_BYTES <= LOG_READ_BYTES);
const _: () = assert!(BATCH_CHANGES <= 1 << EPOCH_POSITION_BITS);
const _: () = assert!(LEASE_BEAT.as_millis() * 3 <= LEASE_TTL.as_millis());
const _: () = assert!(LEASE_MARGIN.as_millis() < LEASE_BEAT.as_millis());
