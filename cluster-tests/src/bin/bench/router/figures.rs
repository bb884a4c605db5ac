//! The figures of `bench router`: what is declared, against what it is held, and what measures it.

use std::pin::Pin;

use super::{added, alone, beside, connects, idle, in_flight, large, rates, scene::Scene, stalled, streams};
use crate::report::{Bound, Figure, Report};

pub(super) const RAW: &str = "raw tonic echo, 256 callers";
pub(super) const REMOTE: &str = "unary, device on another node";
pub(super) const LOCAL: &str = "unary, device on the same node";
pub(super) const NOBODY: &str = "unary, empty group";
pub(super) const RAW_ALONE: &str = "raw tonic echo, one caller, p50";
pub(super) const REMOTE_ALONE: &str = "one caller, device on another node, p50";
pub(super) const LOCAL_ALONE: &str = "one caller, device on the same node, p50";
pub(super) const NATS: &str = "NATS request/reply, another server, 256";
pub(super) const STREAM: &str = "InvokeStream, another node, 256 in flight";
pub(super) const NATS_DEEP: &str = "NATS request/reply, another server, 1,024";
pub(super) const STREAM_DEEP: &str = "InvokeStream, another node, 1,024 in flight";
pub(super) const STREAM_LOCAL: &str = "InvokeStream, same node, 1,024 in flight";
pub(super) const STREAM_NOBODY: &str = "InvokeStream, empty group, 1,024 in flight";
pub(super) const REDIS_LOCK: &str = "dispatcher with a Redis lock, 20 workers";
pub(super) const ADDED: &str = "added latency at half the rate, p99";
pub(super) const RAW_LARGE: &str = "raw tonic echo of 500 KB";
pub(super) const RAW_LARGE_REPLY: &str = "raw tonic, 500 KB replies to small requests";
pub(super) const LARGE: &str = "500 KB replies, device on another node";
pub(super) const RAW_SMALL: &str = "raw tonic, small calls alone, p99";
pub(super) const RAW_BESIDE: &str = "raw tonic, small calls beside large, p99";
pub(super) const SMALL: &str = "small calls alone, p99";
pub(super) const BESIDE: &str = "small calls beside large, p99";
pub(super) const UNSTALLED: &str = "small calls beside a device that is mute, p99";
pub(super) const STALLED: &str = "small calls beside one that does not read, p99";
pub(super) const BEFORE: &str = "one caller, nothing in flight, p50";
pub(super) const DURING: &str = "one caller, 100,000 calls in flight, p50";
pub(super) const PER_CALL: &str = "memory of the entry node per call in flight";
pub(super) const PER_CALL_HOLDER: &str = "memory of the holder per call in flight";
pub(super) const PER_CONNECTION: &str = "memory per idle device connection";
pub(super) const PER_DEVICE: &str = "memory per device on a shared connection";
pub(super) const RAW_CONNECTS: &str = "raw tonic, connections with one echo";
pub(super) const CONNECTS: &str = "devices connected and attached";

type Measured<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// Figures that are measured together, in one round.
pub(crate) struct Together {
    pub(crate) names: &'static [&'static str],
    /// Once is enough for what has nothing to be compared with, round by round.
    pub(crate) once: bool,
    pub(crate) measure: for<'a> fn(&'a Scene, &'a mut Report) -> Measured<'a>,
}

/// All figures, with what they are held against.
pub(crate) fn declared() -> Vec<Figure> {
    use Bound::{AtLeast, AtMost};
    vec![
        Figure::new(RAW, "calls/s"),
        Figure::new(REMOTE, "calls/s").against(RAW, AtLeast(0.7)),
        Figure::new(LOCAL, "calls/s").against(RAW, AtLeast(0.85)),
        Figure::new(NOBODY, "calls/s").against(RAW, AtLeast(0.9)),
        Figure::new(RAW_ALONE, "µs"),
        Figure::new(REMOTE_ALONE, "µs").against(RAW_ALONE, AtMost(3.3)),
        Figure::new(LOCAL_ALONE, "µs").beside(RAW_ALONE),
        Figure::new(NATS, "calls/s"),
        Figure::new(STREAM, "calls/s").against(NATS, AtLeast(3.0)).beside(RAW),
        Figure::new(NATS_DEEP, "calls/s"),
        Figure::new(REDIS_LOCK, "calls/s"),
        Figure::new(STREAM_DEEP, "calls/s")
            .against(NATS_DEEP, AtLeast(3.0))
            .against(REDIS_LOCK, AtLeast(20.0))
            .beside(RAW),
        Figure::new(STREAM_LOCAL, "calls/s").beside(RAW),
        Figure::new(STREAM_NOBODY, "calls/s").goal(AtLeast(300_000.0)),
        Figure::new(ADDED, "µs").goal(AtMost(10_000.0)),
        Figure::new(RAW_LARGE, "calls/s"),
        Figure::new(RAW_LARGE_REPLY, "calls/s"),
        Figure::new(LARGE, "calls/s").against(RAW_LARGE, AtLeast(0.6)).beside(RAW_LARGE_REPLY),
        Figure::new(RAW_SMALL, "µs"),
        Figure::new(RAW_BESIDE, "µs").beside(RAW_SMALL),
        Figure::new(SMALL, "µs"),
        Figure::new(BESIDE, "µs").against(SMALL, AtMost(2.0)),
        Figure::new(UNSTALLED, "µs"),
        Figure::new(STALLED, "µs").against(UNSTALLED, AtMost(2.0)),
        Figure::new(BEFORE, "µs"),
        Figure::new(DURING, "µs").beside(BEFORE),
        Figure::new(PER_CALL, "bytes").goal(AtMost(2_048.0)),
        Figure::new(PER_CALL_HOLDER, "bytes"),
        Figure::new(PER_CONNECTION, "bytes").goal(AtMost(30.0 * 1_024.0)),
        Figure::new(PER_DEVICE, "bytes").goal(AtMost(2_048.0)),
        Figure::new(RAW_CONNECTS, "/s"),
        Figure::new(CONNECTS, "/s").against(RAW_CONNECTS, AtLeast(0.7)),
    ]
}

/// All figures, in the order in which they are measured.
pub(crate) fn all() -> Vec<Together> {
    let rounds = |names, measure| Together { names, once: false, measure };
    let once = |names, measure| Together { names, once: true, measure };
    vec![
        rounds(&[RAW, REMOTE, LOCAL, NOBODY], |s, r| Box::pin(rates::measure(s, r))),
        rounds(&[RAW_ALONE, REMOTE_ALONE, LOCAL_ALONE], |s, r| Box::pin(alone::measure(s, r))),
        rounds(&[NATS, STREAM, NATS_DEEP, STREAM_DEEP, STREAM_LOCAL, STREAM_NOBODY, REDIS_LOCK], |s, r| {
            Box::pin(streams::measure(s, r))
        }),
        rounds(&[ADDED], |s, r| Box::pin(added::measure(s, r))),
        rounds(&[RAW_LARGE, RAW_LARGE_REPLY, LARGE], |s, r| Box::pin(large::measure(s, r))),
        rounds(&[RAW_SMALL, RAW_BESIDE, SMALL, BESIDE], |s, r| Box::pin(beside::measure(s, r))),
        rounds(&[UNSTALLED, STALLED], |s, r| Box::pin(stalled::measure(s, r))),
        once(&[BEFORE, DURING, PER_CALL, PER_CALL_HOLDER], |s, r| Box::pin(in_flight::measure(s, r))),
        once(&[PER_CONNECTION, PER_DEVICE], |s, r| Box::pin(idle::measure(s, r))),
        rounds(&[RAW_CONNECTS, CONNECTS], |s, r| Box::pin(connects::measure(s, r))),
    ]
}
