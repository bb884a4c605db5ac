//! Every bound of this crate, with its reason.

use std::time::Duration;

/// The largest file of certificates, keys or permissions. A bundle of all public authorities has a quarter of it.
pub const FILE_BYTES: u64 = 1024 * 1024;
/// How long a handshake may take: three round trips of a bad mobile network, with losses.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// Handshakes at once on one listener; who comes then takes the place of the oldest. Each holds about 20 KiB.
pub const HANDSHAKES_AT_ONCE: usize = 20_000;
/// Connections that are open and not yet taken by the listener's server.
pub const OPENED_AHEAD: usize = 256;
/// The pause after the system refused to accept, which it does while there are no file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a client looks whether its files have changed, at most: each dial asks.
pub const CLIENT_REREAD: Duration = Duration::from_secs(1);
/// Pings of idle TCP connections by the system; keeps entries of address translators.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(20);
/// As many connections as an address may open in that time it may open at once: all devices of a site come back together.
pub const CONNECT_BURST: Duration = Duration::from_secs(10);
/// How long a connection may wait for its turn, at most: clients give up a dial after a few seconds, and who has given up is
/// let in for nothing. Who would wait longer is turned away at once.
pub const TURNS_WAIT: Duration = Duration::from_secs(3);
/// As many as may come in that time may come at once: timers are no finer than a millisecond or two.
pub const TURNS_BURST: Duration = Duration::from_millis(10);
/// Addresses that are remembered before those that left and owe nothing are forgotten. Each takes about 60 bytes.
pub const ADDRESSES_LEAST_SWEPT: usize = 1_024;
/// What a client of a guarded listener says first: the greeting of HTTP/2.
pub const OPENING_BYTES: usize = 24;
/// How long it may take to say that, after the handshake: as for the handshake.
pub const OPENING_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection that was closed waits for its client to close it too: a few round trips.
pub const LINGERING: Duration = Duration::from_secs(2);
/// The longest header of the PROXY protocol: addresses, and what a proxy says of a TLS connection that it ended, its certificate
/// included.
pub const PROXY_HEADER_BYTES: usize = 4 * 1024;
/// The least time between two log lines about proxies that do not do as they must.
pub const PROXY_ERRORS_PAUSE: Duration = Duration::from_secs(10);
/// The most names that are taken from a certificate. A node's certificate has a handful.
pub const CERTIFICATE_NAMES: usize = 64;
