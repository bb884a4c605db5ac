//! Every bound and patience of the harness, with its reason.

use std::{ops::Range, time::Duration};

/// Clusters that run at once on one machine, over all test processes: more than two starve each other on two cores.
pub(crate) const CLUSTERS_AT_ONCE: usize = 2;
/// Ports for nodes: below Linux' ephemeral range, so that no outgoing connection takes one.
pub(crate) const PORTS: Range<u16> = 20_000..32_000;
/// Ports that one cluster claims together: eight nodes of four listeners.
pub(crate) const PORTS_PER_BLOCK: u16 = 32;
/// Networks of namespaces on one machine, over all test processes: the third byte of their addresses.
pub(crate) const NETWORKS: Range<u8> = 100..120;
/// How often a condition is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The largest message the harness sends or takes: beyond every limit of the programs, which are to be tested.
pub(crate) const MESSAGE_BYTES: usize = 256 * 1024 * 1024;
/// Lines of a log that a failure shows.
pub(crate) const LOG_TAIL_LINES: usize = 15;

/// How long a cluster may take from empty folders to ready: a debug build on two busy cores.
pub const FORM_PATIENCE: Duration = Duration::from_secs(30);
/// How long a cluster may take to heal after a node's loss or return: a lease, an election, and reconnects.
pub const HEAL_PATIENCE: Duration = Duration::from_secs(30);
/// How long a change may take to be seen by every node while nothing is wrong.
pub const SPREAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a program may take to stop when asked.
pub const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How long a test waits for its turn.
pub(crate) const TURN_PATIENCE: Duration = Duration::from_secs(600);
/// An answer that came sooner was not a time-out. Far below the programs' shortest one, far above a slow machine's.
pub const AT_ONCE: Duration = Duration::from_millis(1_500);
/// How long one HTTP or gRPC question of the harness may take.
pub(crate) const ASK_PATIENCE: Duration = Duration::from_secs(5);
