//! Every bound of the demonstration, with its reason.

use std::{ops::Range, time::Duration};

/// How long the nodes may take to become a cluster: far more than a second or two, for a slow disk.
pub(super) const FORM_PATIENCE: Duration = Duration::from_secs(60);
/// How long the devices may take to attach, and their sessions to be seen by every node.
pub(super) const ATTACH_PATIENCE: Duration = Duration::from_secs(30);
/// How long a demo call may take.
pub(super) const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// How long one question to a node may take: it may be dead.
pub(super) const ASK_PATIENCE: Duration = Duration::from_secs(2);
/// How often a condition is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often something is printed while nothing changes.
pub(super) const STILL_WAITING: Duration = Duration::from_secs(2);
/// The nodes' own grace when they stop: nobody waits for demo calls.
pub(super) const DRAIN_GRACE: &str = "2s";
/// How long a node may take to stop before it is killed.
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// Lines of each node's log that a failure shows.
pub(super) const LOG_TAIL_LINES: usize = 12;
/// How many places are tried for free ports.
pub(super) const PORT_TRIES: usize = 200;
/// Where free ports are looked for: below Linux' ephemeral range, so that no outgoing connection takes one.
pub(super) const FREE_PORTS: Range<u16> = 12_000..20_000;
