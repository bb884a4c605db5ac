//! Every bound of this crate, with its reason.

use std::time::Duration;

/// The least that `max_payload` may be set to. Below it not even an error fits.
pub const PAYLOAD_BYTES_LEAST: usize = 1024;
/// The most that `max_payload` may be set to. A call holds its payload in memory on two nodes.
pub const PAYLOAD_BYTES_MOST: usize = 256 * 1024 * 1024;
/// What a message may carry besides its payload: metadata, labels, ids, encoding.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64 * 1024;

/// The longest namespace, group, action, device id and request id. They are keys in maps and labels in logs.
pub const NAME_BYTES: usize = 128;
/// The longest affinity key. It is hashed for each call.
pub const AFFINITY_KEY_BYTES: usize = 1024;
/// The longest content type. RFC 6838 has 127 bytes a half; parameters need some room.
pub const CONTENT_TYPE_BYTES: usize = 512;
/// The most entries of `metadata`.
pub const METADATA_ENTRIES: usize = 64;
/// The most bytes of `metadata`, keys and values together; gRPC suggests the same for headers.
pub const METADATA_BYTES: usize = 8 * 1024;
/// The most labels of a request, as many as a device may carry.
pub const LABELS: usize = 32;
/// The most groups that an administrator assigns to a device, as many as a device may name.
pub const GROUPS: usize = 16;
/// The longest key or value of a label.
pub const LABEL_BYTES: usize = 256;
/// The longest page token: a name, encoded.
pub const PAGE_TOKEN_BYTES: usize = 512;

/// Items of a page when the caller does not say.
pub const PAGE_DEFAULT: usize = 100;
/// The most items of a page.
pub const PAGE_MOST: usize = 1_000;

/// Calls in flight on one `InvokeStream`; more are answered OVERLOADED. To be measured.
pub const STREAM_CALLS: usize = 10_000;
/// Calls of one `InvokeStream` that start before answers are looked at again.
pub const STREAM_BURST: usize = 128;
/// Answers that wait for the reader of an `InvokeStream` before the stream ends: it sends and does not read.
pub const STREAM_ANSWERS: usize = 2 * STREAM_CALLS;
/// Answers between the task of an `InvokeStream` and its transport.
pub const STREAM_CHANNEL: usize = 256;
/// Events between a watch and its transport; the registry's own history takes what is slower.
pub const WATCH_CHANNEL: usize = 64;

/// The bytes of one part of a backup.
pub const BACKUP_PART_BYTES: usize = 256 * 1024;
/// Parts of a backup that are read ahead of the transport.
pub const BACKUP_PARTS_AHEAD: usize = 4;
/// When a backup that was refused because others are being made may be asked for again.
pub const BACKUP_RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a read waits for `min_index`, or for the leader's confirmation.
pub const READ_PATIENCE: Duration = Duration::from_secs(5);
/// The most by which an answer comes before the caller's gRPC deadline, so that it arrives in time to be read.
pub const DEADLINE_SLACK: Duration = Duration::from_millis(20);
/// The part of the caller's time, one in so many, that the slack may take.
pub const DEADLINE_SLACK_SHARE: u32 = 20;

/// As many calls as a rate allows in that time may come at once.
pub const RATE_BURST: Duration = Duration::from_secs(1);
/// Callers, and groups, whose rates are remembered; others share one account until some of these owe nothing. Each takes
/// about 100 bytes.
pub const RATES_KEPT: usize = 10_000;
/// When to call again who has as many calls in flight as it may: nobody knows when one of them ends, and most end sooner.
pub const IN_FLIGHT_RETRY_AFTER: Duration = Duration::from_millis(100);

/// How long a request may take to come in, beside what its bytes may take.
pub const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// How fast its bytes have to come at least, on average: below a bad mobile network, and services have a better one.
pub const REQUEST_BYTES_PER_SECOND: u64 = 16 * 1024;

/// How often a node looks whether other rules of who may do what are stored: a look is one load, and a change is to hold within a
/// second.
pub const STORED_RULES_LOOK: Duration = Duration::from_millis(200);

/// HTTP/2 pings on idle connections; finds dead peers and keeps NAT entries.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long such a ping may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long connections may take to end once the node has drained.
pub const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Groups whose calls are counted apart; those that are called later count as `_other`. Each is four series.
pub const GROUPS_SHOWN: usize = 200;
/// Log lines that wait to be written; more are dropped and counted.
pub const LOG_LINES: usize = 16_384;
/// Buckets of histograms in seconds: from a call in memory to a call at the limit of patience.
pub const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0];
/// Buckets of histograms of counts: from one change alone to a full batch.
pub const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];
/// How often the process and its disk are looked at for metrics: as often as Prometheus usually asks.
pub const PROCESS_SHOWN: Duration = Duration::from_secs(5);
/// How often histograms are folded; without it they grow.
pub const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// How often the files of certificates are looked at; a renewed one is there long before the old one ends.
pub const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(5);

/// The largest file of permissions and the largest key set. A rule takes about 200 bytes, a key about 400.
pub const ACCESS_FILE_BYTES: u64 = 1024 * 1024;
/// By how much clocks of those who make tokens may differ from ours.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);
/// Credentials whose identity is kept; more are judged again, a signature each. Each takes about 2 KiB.
pub const IDENTITIES_KEPT: usize = 20_000;
/// The longest that an answer goes on after its credential has ended, or a clock was set.
pub const CREDENTIAL_LOOK: Duration = Duration::from_secs(15);
/// Over how long what lasts is judged anew when the rules have changed: a signature for each of many devices.
pub const REVIEW_SPREAD: Duration = Duration::from_secs(5);
/// How long before its token ends a device is asked for a new one: a few tries of a bad network.
pub const REAUTH_BEFORE: Duration = Duration::from_secs(60);
/// The least time between two such questions.
pub const REAUTH_AGAIN: Duration = Duration::from_secs(5);
/// Refusals a second that are written to the log, each; a scan must not fill the disk.
pub const AUDITED_REFUSALS: u32 = 20;
/// Answers of the door to one connection's devices that wait for its transport; who causes more loses the connection.
pub const DOOR_ANSWERS: usize = 64;
/// How often key sets behind a URL are fetched; issuers show a new key long before they use it.
pub const KEYS_INTERVAL: Duration = Duration::from_secs(300);
/// The same while one cannot be fetched.
pub const KEYS_AGAIN: Duration = Duration::from_secs(10);
/// The least time between two fetches, however many tokens name unknown keys.
pub const KEYS_LEAST: Duration = Duration::from_secs(10);
/// How long a fetch may take.
pub const KEYS_PATIENCE: Duration = Duration::from_secs(10);

/// The most networks of trusted proxies of a listener: each new connection is compared with all of them.
pub const NETWORKS_MOST: usize = 64;
/// Open files below which a start warns: each device connection needs one.
pub const OPEN_FILES_LEAST: u64 = 65_536;

/// The size of the writes by which a disk is examined: a page, as the log's small entries are.
pub const FSYNC_BYTES: usize = 4096;
/// How many of them; the median counts.
pub const FSYNC_TRIES: usize = 5;
/// A flush that takes longer is reported as slow. etcd asks for 10 ms at the 99th percentile.
pub const FSYNC_SLOW: Duration = Duration::from_millis(20);
/// How long the resolution of one name may take before it counts as failed.
pub const NAME_PATIENCE: Duration = Duration::from_secs(2);
/// One that takes longer is reported as slow: a dial that waits for it may miss an election.
pub const NAME_SLOW: Duration = Duration::from_millis(250);
/// Clocks that are further apart are reported. Records expire by them, a day after their device left by default.
pub const CLOCKS_APART_MOST: Duration = Duration::from_secs(2);

/// Connections that wait to be accepted; a reconnect storm fills it for a moment.
pub const LISTEN_BACKLOG: u32 = 4_096;
/// Different ages of callers' connections, so that those that came together do not go together: 18 s apart at half an hour.
pub const AGES: u32 = 21;
/// Connections that are open and not yet taken by the server of their age.
pub const AGED_AHEAD: usize = 16;
/// How long after its connection's GOAWAY an endless stream ends: by then its client opens another elsewhere.
pub const RETIRED_AFTER: Duration = Duration::from_millis(500);
/// After that long what is still open is cut: more than a call or a broadcast can take.
pub const RETIRED_GRACE: Duration = Duration::from_secs(70 * 60);
/// HTTP/2 streams at once on one connection of a service. More calls than that belong on an `InvokeStream`.
pub const API_STREAMS: u32 = 10_000;
/// Frames of a device that are handled in one step, before anybody else's turn on its connection.
pub const DEVICE_FRAMES: usize = 64;
/// HTTP/2 streams at once on one connection of a device: one, and room for a new one while the old one ends.
pub const DEVICE_STREAMS: u32 = 4;
/// The largest headers of a request, names and values and 32 bytes for each: tokens are the longest, some 4 KiB.
pub const HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Streams that a client resets before the node has looked at them; whoever has more loses the connection.
pub const PENDING_RESETS: usize = 20;
/// Streams that the node resets because of their client; whoever causes more loses the connection.
pub const LOCAL_RESETS: usize = 1_024;
/// What one HTTP/2 stream may send unread: a payload of a megabyte in one round trip.
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// What one HTTP/2 connection may send unread.
pub const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Log entries that a ready node may have and not have applied.
pub const APPLY_LAG_MOST: u64 = 10_000;
/// How often readiness is looked at.
pub const READINESS_INTERVAL: Duration = Duration::from_millis(250);
/// How long a peer may take to say whether it has a leader.
pub const PEER_QUESTION: Duration = Duration::from_millis(500);

/// How often a node that waits for its turn to leave looks at the others: soon enough for people, seldom enough for them.
pub const TURN_INTERVAL: Duration = Duration::from_millis(500);
/// Entries that another voter may have and not have applied when a voter leaves: what is on its way to it under load.
pub const TURN_LAG_MOST: u64 = 100;
/// After that long a node that was let go stops by itself: who asked should have stopped it.
pub const TURN_KEPT: Duration = Duration::from_secs(120);
/// How long a node that leaves for good tries: the grace that the chart leaves beside a drain is 15 s.
pub const PARTING_PATIENCE: Duration = Duration::from_secs(5);
/// How often a drain shows how far it is.
pub const DRAIN_SHOWN: Duration = Duration::from_millis(250);

/// How long `rollcall doctor` waits for one node: as long as its examination takes at worst.
pub const DOCTOR_PATIENCE: Duration = Duration::from_secs(10);
/// How often `rollcall rebalance` asks again those that still have more than their share: devices that are asked may go where they
/// like, so that one round may leave another node with too many.
pub const REBALANCE_ROUNDS: u32 = 5;
/// How often it looks how far they are.
pub const REBALANCE_LOOK: Duration = Duration::from_millis(500);
/// How long it waits after the last device was to go: agents dial, attach and detach within seconds.
pub const REBALANCE_SETTLE: Duration = Duration::from_secs(15);
/// How often a node with `rebalance = auto` looks at its share: it acts once the nodes are the same as at its last look, and devices
/// that were lost with a node are back sooner.
pub const BALANCE_LOOK: Duration = Duration::from_secs(15);
/// Spans that wait to be exported; further ones are dropped. A few megabytes.
pub const TRACE_QUEUE: usize = 8_192;
/// Spans in one message to the collector: well below 4 MiB, which is what collectors take.
pub const TRACE_BATCH: usize = 512;
/// How long one message may take; what a stop waits for spans, too.
pub const TRACE_PATIENCE: Duration = Duration::from_secs(5);
/// How long spans are gathered.
pub const TRACE_PAUSE: Duration = Duration::from_secs(1);
/// How often `rollcall cluster shrink` asks for one change while others run: each takes a second or two.
pub const SHRINK_TRIES: u32 = 30;
/// Less free disk than that is reported: the log grows by its snapshots' distance before anything is given back.
pub const DISK_FREE_LEAST_PERCENT: u64 = 10;

/// How long the commands wait for a connection to one node.
pub const CLIENT_CONNECT: Duration = Duration::from_secs(3);

/// Characters of an answer that a table shows.
pub const TABLE_ANSWER_CHARS: usize = 60;

const _: () = assert!(PAGE_DEFAULT <= PAGE_MOST);
const _: () = assert!(PAYLOAD_BYTES_LEAST < PAYLOAD_BYTES_MOST);
