//! Every bound of this crate, with its reason.

use std::time::Duration;

/// The most changes in one batch. Keeps an entry's apply below a few milliseconds; an append, a flush and a round trip cost
/// a good millisecond of all nodes' time, whatever the entry's length.
pub const BATCH_CHANGES: usize = 2_000;
/// The most bytes of changes in one batch, by [`crate::model::command::SessionChange::encoded_bytes`]: a few times what they
/// take once packed.
pub const BATCH_BYTES: usize = 448 * 1024;
/// The batcher's finest sleep. With nothing in flight a change is proposed at once, unless a large batch was just completed,
/// and while a batch is in flight the next one gathers.
pub const BATCH_TICK: Duration = Duration::from_millis(1);
/// After a batch of so many changes the next one waits for as many, [`BATCH_REGROUP`] at most. Callers that were in it come
/// back one after another; the first of them would be a batch of their own, and all the others wait for that one.
pub const BATCH_REGROUP_FROM: usize = 128;
/// How long the next batch waits for them.
pub const BATCH_REGROUP: Duration = Duration::from_millis(1);
/// Changes that may wait for a batch; more are refused with a retry-after.
pub const BATCH_QUEUE: usize = 20_000;
/// Closes that may wait for a batch: more than a node can have sessions, so none is ever lost.
pub const CLOSE_QUEUE: usize = 262_144;
/// How long after a failed proposal a batch is proposed again.
pub const BATCH_RETRY: Duration = Duration::from_millis(50);
/// When a device that was refused for want of a leader or of room may try again.
pub const BATCH_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a device's change waits for its commit before it is told that there is no leader.
pub const CHANGE_PATIENCE: Duration = Duration::from_secs(5);
/// Bits of an epoch that count positions in a batch.
pub const EPOCH_POSITION_BITS: u32 = 12;
/// Tables that the rows are spread over, each under its own lock: a write blocks the readers of one 256th for
/// microseconds, and growing one table of a million rows' 256 takes about a millisecond.
pub const ROW_SHARDS: usize = 256;
/// Rows that are fetched together. A core has some ten to sixteen cache misses under way at once; each of these is one,
/// and one lock of a shard.
pub const ROWS_TOGETHER: usize = 16;
/// How often the members of a group are listed anew when rows have moved meanwhile, as when a table grows: then some may be
/// missing in the list.
pub const MEMBERS_TRIES: usize = 4;
/// Rows that are copied together when a snapshot still holds them and one of them changes: about a microsecond. With its
/// counts a chunk is 8 KiB, a size that allocators have; one row more, and jemalloc gives 10 KiB.
pub const ROW_CHUNK: usize = 127;
/// Cohorts (rows that are alike) that are kept after their last row left: a device that comes back finds its own again. A
/// look-up by group passes over those of the group, a few nanoseconds each.
pub const LINGERING_COHORTS: usize = 256;
/// The largest record of a snapshot. A profile came through a batch of at most [`BATCH_BYTES`], a node remembers at
/// most 4,096 refusals of some 20 bytes: larger ones are damage, and are not allocated for.
pub const SNAPSHOT_RECORD_BYTES: usize = 1024 * 1024;
/// Events kept for watchers that resume; older cursors are told so.
pub const WATCH_HISTORY: usize = 65_536;
/// Sessions of nodes that went down, kept for watchers beside the events: some 48 bytes each. Beyond it the oldest changes
/// go; a node that took more with it is told to watchers as a cursor that is too old.
pub const WATCH_LOST_SESSIONS: u64 = 1 << 20;
/// Events that one watcher copies out of the history at a time.
pub const WATCH_AHEAD: usize = 256;

/// How long a record that its device made by itself stays without a session, unless the policy says otherwise: a device
/// that is off over night keeps its record, and one that changes its id every hour leaves 24 behind.
pub const RECORD_TTL: Duration = Duration::from_secs(24 * 3_600);
/// The shortest that it may be set to. Nodes' clocks differ by more than less.
pub const RECORD_TTL_LEAST: Duration = Duration::from_secs(1);
/// The longest.
pub const RECORD_TTL_MOST: Duration = Duration::from_secs(365 * 24 * 3_600);
/// The longest text of who may do what that is stored: some thousand roles. Each change writes all of it into each log.
pub const ACCESS_RULES_BYTES: usize = 64 * 1024;
/// Groups that may have a policy. A change of one copies the table of all, a millisecond for so many.
pub const GROUP_POLICIES: usize = 10_000;
/// The shortest time-out that a group's policy may name.
pub const GROUP_TIMEOUT_LEAST: Duration = Duration::from_millis(1);
/// The longest; the nodes' own maximum is shorter as a rule.
pub const GROUP_TIMEOUT_MOST: Duration = Duration::from_secs(24 * 3_600);
/// Rows that one entry of a leader's chores removes or sweeps: a fraction of a millisecond of apply, and with names of 128
/// bytes still an eighth of the largest entry.
pub const CHORE_ROWS: usize = 500;
/// Entries that a leader's chores write one after the other before they look at the clock again.
pub const CHORE_ENTRIES: usize = 20;
/// How often a leader looks through all rows for something to remove or sweep, at most.
pub const CHORE_SCAN: Duration = Duration::from_secs(30);
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
/// The largest log entry. A batch of [`BATCH_BYTES`] fits twice; one entry always fits an append RPC.
pub const LOG_ENTRY_BYTES: usize = 1024 * 1024;
/// What an entry takes beside its command: log id and lengths.
pub const LOG_ENTRY_HEAD_BYTES: usize = 64;
/// The longest name or address of a member: a DNS name has 253 bytes.
pub const MEMBER_TEXT_BYTES: usize = 1024;
/// Entry bytes gathered into one flush: bounds how long the first of them waits for the last.
pub const LOG_FLUSH_BYTES: usize = 8 * 1024 * 1024;
/// The largest write into sled. A longer append is written as several, then flushed once.
pub const LOG_WRITE_BYTES: usize = 2 * 1024 * 1024;
/// Keys deleted in one write when the log is purged or truncated: readers wait for it.
pub const LOG_WRITE_DELETES: usize = 1_024;
/// Keys of purged entries that go with each flush, or twice as many as it brings, if that is more: so appends wait for a few
/// milliseconds of deletions at most, and what was purged still goes faster than new entries come.
pub const LOG_SWEEP_KEYS: usize = 256;
/// Entry bytes that one read of the log returns, unless a single entry is larger: an append RPC stays below 2 MiB.
pub const LOG_READ_BYTES: usize = 1024 * 1024;
/// The entry bytes between two marks of how many there are.
pub const LOG_VOLUME_STEP_BYTES: u64 = 1024 * 1024;
/// Such marks, of 16 bytes each: a log that snapshots keep in bounds has fewer, a larger one is counted more coarsely.
pub const LOG_VOLUME_MARKS: usize = 1_024;
/// Decoded entries kept for apply and replication, by their encoded size.
pub const LOG_RECENT_BYTES: usize = 8 * 1024 * 1024;
/// How long the log's mark of what was acknowledged may stay unsynced; also when an idle log notes the committed index.
pub const LOG_MARK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an opening log waits for threads of a log that this process closed just before.
pub const LOG_RELEASE_WAIT: Duration = Duration::from_secs(5);
/// The largest manifest of a backup: a membership of thousands of nodes is far below. Larger ones are damage.
pub const BACKUP_MANIFEST_BYTES: usize = 1024 * 1024;
/// Backups that a node makes at once; more are refused. Each reads a whole snapshot twice.
pub const BACKUPS_AT_ONCE: usize = 2;
/// How long a backup waits for this node to apply what the leader has.
pub const BACKUP_APPLY_PATIENCE: Duration = Duration::from_secs(10);
/// How long a backup waits for the snapshot that it consists of.
pub const BACKUP_BUILD_PATIENCE: Duration = Duration::from_secs(120);
/// How long after asking for a snapshot it is asked for again: one that was being built already had begun too early.
pub const BACKUP_ASK_AGAIN: Duration = Duration::from_millis(100);
/// What a restored cluster's epochs are above those of the backup: four billion log entries, so that they are also above all
/// that the old cluster gives while it lives on. Half a thousand restores stay below 2^53, which JSON can carry.
pub const EPOCH_LEAP: u64 = 1 << 44;
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

/// How long a node that leaves for good waits before it asks again: another change takes a second or two.
pub const PARTING_PAUSE: Duration = Duration::from_millis(250);

const _: () = assert!(BATCH_BYTES < LOG_ENTRY_BYTES);
const _: () = assert!(LOG_ENTRY_BYTES <= LOG_READ_BYTES);
const _: () = assert!(BATCH_CHANGES <= 1 << EPOCH_POSITION_BITS);
const _: () = assert!(LEASE_BEAT.as_millis() * 3 <= LEASE_TTL.as_millis());
const _: () = assert!(LEASE_MARGIN.as_millis() < LEASE_BEAT.as_millis());

/// How long a dial to a peer may take.
pub const PEER_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// HTTP/2 pings on connections to peers: a host lost without a reset is noticed by them.
pub const PEER_KEEPALIVE: Duration = Duration::from_secs(5);
/// How long such a ping may stay unanswered.
pub const PEER_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// HTTP/2 windows between peers: an append of 2 MiB goes out without waiting for credit.
pub const PEER_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// The largest message between peers: an append of bounded entries, or a snapshot's part.
pub const PEER_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// How long an append that was sent may stay unanswered before its stream is given up.
pub const APPEND_PROGRESS: Duration = Duration::from_secs(2);
/// How long a whole snapshot may take to send.
pub const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(300);
/// How long a receiver waits for the next part: a disk that reads slowly is not given up, a sender that is gone is.
pub const SNAPSHOT_PROGRESS: Duration = Duration::from_secs(10);
/// The size of a snapshot's parts on the wire.
pub const SNAPSHOT_PART_BYTES: usize = 256 * 1024;
/// How long a request to the leader may take before another try.
pub const LEADER_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a new leader is asked again until its first quorum ack: about a round trip.
pub const LEADER_READY_EVERY: Duration = Duration::from_millis(5);
/// How long a stopping node waits for Raft to end: a disk that hangs must not keep the process.
pub const RAFT_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a leader beats.
pub const RAFT_HEARTBEAT: Duration = Duration::from_millis(100);
/// The shortest election time-out. openraft adds it to the leader's lease, which lasts [`RAFT_ELECTION_MAX`]: a follower
/// campaigns after 1.05 to 1.3 s of silence, more than ten appends on a slow disk, and connects pause no longer than
/// 1.5 s when a leader dies.
pub const RAFT_ELECTION_MIN: Duration = Duration::from_millis(400);
/// The longest election time-out.
pub const RAFT_ELECTION_MAX: Duration = Duration::from_millis(650);
/// Entries after which a snapshot is built.
pub const SNAPSHOT_EVERY_ENTRIES: u64 = 20_000;
/// Bytes of entries after which a snapshot is built, however few entries they are; as many as the newest snapshot has, if that is
/// more, so that no more is written for snapshots than for the log. A quarter of a minute of the fastest churn.
pub const SNAPSHOT_EVERY_BYTES: u64 = 256 * 1024 * 1024;
/// Entries kept behind a snapshot, for followers that lag a little.
pub const SNAPSHOT_KEEP_ENTRIES: u64 = 5_000;
/// Bytes of entries kept behind a snapshot; as many as it has itself, if that is more: what comes while it is sent is not to be
/// given up before it is there. With [`SNAPSHOT_EVERY_BYTES`] the bound of the log.
pub const SNAPSHOT_KEEP_BYTES: u64 = 128 * 1024 * 1024;
/// How often a node looks whether its log wants a snapshot: the fastest churn adds a few MiB meanwhile.
pub const COMPACT_EVERY: Duration = Duration::from_millis(200);
/// How many nodes may be wanted as voters: with these numbers one or two may be lost; an even number bears no more loss
/// than the odd one below it, and more than 5 make each commit wait for more disks.
pub const VOTERS: [usize; 2] = [3, 5];
/// How many entries a learner may lag and still be promoted.
pub const PROMOTE_LAG_ENTRIES: u64 = 100;
/// How long a learner must have been up and caught up before it is promoted: one that flaps would take the quorum with it.
pub const PROMOTE_STABLE: Duration = Duration::from_secs(3);
/// How recently the leader must have heard from a node to count on it: several heartbeats, less than an election.
pub const REACHABLE_WITHIN: Duration = RAFT_ELECTION_MIN;
/// How long a change of the membership may take, with a hand-over of leadership and two commits.
pub const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a hand-over of leadership may take: an election without a time-out.
pub const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a restarted node asks its peers whether its folder is sound.
pub const COMPARE_EVERY: Duration = Duration::from_millis(200);

const _: () = assert!(RAFT_HEARTBEAT.as_millis() * 4 <= RAFT_ELECTION_MIN.as_millis());
const _: () = assert!(RAFT_ELECTION_MAX.as_millis() < LEASE_TTL.as_millis());
// A leader grants on a quorum's ack that is at most an election time-out old, and a node counts from when it sent the beat: what a
// deposed leader grants last ends before a follower that no longer hears it can lead and end that node's life. The margin covers
// the difference, and the clocks' drift over one lease.
const _: () = assert!(RAFT_ELECTION_MIN.as_millis() <= LEASE_MARGIN.as_millis());
const _: () = assert!((LEASE_MARGIN.as_millis() + RAFT_ELECTION_MAX.as_millis()) * 2 < LEASE_TTL.as_millis());
const _: () = assert!(SNAPSHOT_PROGRESS.as_millis() * 2 < SNAPSHOT_DEADLINE.as_millis());
const _: () = assert!(LOG_ENTRY_HEAD_BYTES + BATCH_BYTES < LOG_ENTRY_BYTES / 2);
/// How often a leader looks for lapsed leases.
pub const LEASE_TICK: Duration = Duration::from_millis(200);
/// Beats that may wait for the leader's table; more are dropped, and come again.
pub const LEASE_BEATS_WAITING: usize = 1_024;
/// How often a leader looks for learners to promote and for a cluster to found.
pub const CHORES_EVERY: Duration = Duration::from_millis(250);
/// How often a node without a cluster asks its join list.
pub const JOIN_EVERY: Duration = Duration::from_millis(300);
/// How long one answer from the join list may take.
pub const JOIN_TIMEOUT: Duration = Duration::from_secs(2);

const _: () = assert!(LEASE_TICK.as_millis() * 2 < LEASE_TICK_LATE.as_millis());
const _: () = assert!(ROW_SHARDS == 256, "a row's number keeps its shard in the low 8 bits");
const _: () = assert!(BATCH_BYTES <= SNAPSHOT_RECORD_BYTES / 2);
const _: () = assert!(ACCESS_RULES_BYTES < BATCH_BYTES / 2);
