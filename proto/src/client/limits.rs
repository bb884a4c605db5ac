//! Every bound of the client, with its reason.

use std::time::Duration;

/// How long a call may take unless it says otherwise: the node's own default.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a broadcast may take unless it says otherwise.
pub const BROADCAST_TIMEOUT: Duration = Duration::from_secs(600);
/// How much longer than the deadline the client waits for the node's word on where the time ran out.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
/// How long a connection to a node may take.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// HTTP/2 pings: finds dead nodes behind a network that is silent about them.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long such a ping may take.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message: a node's default `max_payload`, and 64 KiB for what goes with it.
pub const MESSAGE_BYTES: usize = 16 * 1024 * 1024 + 64 * 1024;
/// HTTP/2 windows of a connection: several large replies at once.
pub const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// How often a call is sent at most, the first time included; gRFC A6 allows five.
pub const ATTEMPTS: u32 = 4;
/// How often a call is sent again, beside the attempts and the budget, because its connection ended before its node had looked
/// at it: once for a connection that was too old, and some more for bad luck. gRFC A6 has no bound at all.
pub const UNSENT_AGAIN: u32 = 5;
/// The pause before the second attempt, where the node names none; doubles.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest such pause.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The tokens of a full retry budget; at half of them nothing is retried.
pub const RETRY_TOKENS: u32 = 100;
/// Thousandths of a token that a call earns which did not fail: ten of them pay for one retry.
pub const RETRY_EARNS_MILLI: u32 = 100;
/// How long a node that could not be reached is passed over while others can.
pub const AWAY: Duration = Duration::from_secs(1);

/// Calls in flight on one [`super::CallStream`] unless it says otherwise.
pub const STREAM_CREDITS: usize = 1_000;
/// The most of them; a node refuses further ones.
pub const STREAM_CREDITS_MOST: usize = 10_000;

const _: () = assert!(STREAM_CREDITS <= STREAM_CREDITS_MOST);
