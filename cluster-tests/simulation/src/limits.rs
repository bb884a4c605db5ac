//! The measures of a simulation. All times are simulated.

use std::time::Duration;

/// Machines of a cluster.
pub const MACHINES: usize = 3;
/// How finely machines take turns: shorter than anything that a registry waits for, but for its batcher's millisecond.
pub const STEP: Duration = Duration::from_millis(2);
/// After so many steps nodes are asked what takes them a while to say.
pub const LOOK_EVERY_STEPS: u64 = 10;
/// How long a cluster may take to found itself, with nothing broken.
pub const FOUNDING: Duration = Duration::from_secs(10);
/// How long things are broken.
pub const SAFETY: Duration = Duration::from_secs(24);
/// How long a cluster may take to be whole again once everything is healed: a connection that lost something is noticed
/// after 8 s, then an election of 1.3 s and a lease of 4 s may follow, and a restarted node compares its disk first.
pub const LIVENESS: Duration = Duration::from_secs(20);
/// How long a machine has to be well before it counts: a change may be under way.
pub const SETTLED: Duration = Duration::from_millis(500);

/// Devices that the clients fight for: few, so that they meet.
pub const DEVICES: usize = 4;
/// The longest pause between two changes of the clients.
pub const CLIENT_PAUSE: Duration = Duration::from_millis(120);

/// A dial to a machine that does not answer is given up after this long, as the registry's connections are.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(1);
/// A connection that lost something is noticed after this long, as by the registry's keep-alive.
pub const KEEPALIVE: Duration = Duration::from_secs(8);
/// How long a lost packet takes to be sent again.
pub const RESEND: Duration = Duration::from_millis(200);
/// How far a message can travel in a healthy network.
pub const WIRE: Duration = Duration::from_millis(2);
/// How long a healthy disk takes for a write at most.
pub const DISK: Duration = Duration::from_millis(4);
/// How long a slow one takes.
pub const SLOW_DISK: Duration = Duration::from_millis(600);

/// Bytes of log after which a snapshot is built: a few seconds of the clients' changes.
pub const SNAPSHOT_EVERY_BYTES: u64 = 3 * 1024;
/// Bytes of log kept behind a snapshot, so that who was away for a while needs the snapshot.
pub const KEEP_BYTES: u64 = 512;
