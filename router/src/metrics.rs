//! Every metric of this crate, declared once. Handles of the hot ones are kept: looking one up costs ten times its use.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use rollcall_proto::device::CloseCode;

use crate::{
    core::pressure::Work,
    outcome::{Failure, Outcome, Reason},
};

const CALLS: &str = "rollcall_calls_total";
const CALLS_IN_FLIGHT: &str = "rollcall_calls_in_flight";
const BROADCASTS: &str = "rollcall_broadcasts";
const SESSIONS: &str = "rollcall_device_sessions";
const SESSIONS_OPENED: &str = "rollcall_device_sessions_opened_total";
const SESSIONS_CLOSED: &str = "rollcall_device_sessions_closed_total";
const SESSIONS_AWAY: &str = "rollcall_device_sessions_away";
const SESSIONS_LOST: &str = "rollcall_device_sessions_lost_total";
const SESSIONS_RESUMED: &str = "rollcall_device_sessions_resumed_total";
const REPLAYED: &str = "rollcall_replayed_answers_total";
const PICKED: &str = "rollcall_picked_devices_total";
const ATTACHES_REFUSED: &str = "rollcall_device_attaches_refused_total";
const LATE: &str = "rollcall_late_replies_total";
const RETRIES: &str = "rollcall_retries_total";
const SUSPECT: &str = "rollcall_device_suspicions_total";
const HEALTH_CALLS: &str = "rollcall_device_health_calls_total";
const EJECTED: &str = "rollcall_device_ejections_total";
const EJECTED_NOW: &str = "rollcall_devices_ejected";
const PRESSURE: &str = "rollcall_pressure_ratio";
const SHED: &str = "rollcall_shed_total";
const ATTACHES_ADMITTED: &str = "rollcall_device_attaches_admitted_total";
const FLAPS: &str = "rollcall_device_flaps_total";
const SITES_LOST: &str = "rollcall_sites_lost_total";
const LINK_UP: &str = "rollcall_link_up";
const LINK_BREAKS: &str = "rollcall_link_breaks_total";

/// By which way a call reached its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// This node holds the device, or the call never left it.
    Local,
    /// A peer holds it.
    Peer,
}

impl Path {
    fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
        }
    }
}

const PATHS: [Path; 2] = [Path::Local, Path::Peer];
const FAILURES: usize = Reason::ALL.len() * Outcome::ALL.len();

/// The counters of the calls that fail by this path, by reason and then by outcome.
fn failures(path: Path) -> [Counter; FAILURES] {
    std::array::from_fn(|at| {
        let (reason, outcome) = (Reason::ALL[at / Outcome::ALL.len()], Outcome::ALL[at % Outcome::ALL.len()]);
        counter!(
            CALLS,
            "path" => path.as_str(), "outcome" => outcome.as_str(), "reason" => reason.as_str(),
            "fault" => reason.fault().as_str()
        )
    })
}

/// Series appear before what they count happens: an increase from nothing to one is none to Prometheus.
fn show_what_has_not_happened() {
    for code in (0..=i32::from(u8::MAX)).filter_map(|code| CloseCode::try_from(code).ok()) {
        if code != CloseCode::Unspecified {
            counter!(SESSIONS_CLOSED, "reason" => code.as_str_name()).absolute(0);
            counter!(ATTACHES_REFUSED, "reason" => code.as_str_name()).absolute(0);
        }
    }
    for work in Work::ALL {
        counter!(SHED, "work" => work.as_str()).absolute(0);
    }
}

/// The handles.
pub(crate) struct Metrics {
    answered: [Counter; 2],
    failed: [[Counter; FAILURES]; 2],
    /// Calls that entered through this node and have not ended.
    pub(crate) in_flight: Gauge,
    /// Broadcasts that run.
    pub(crate) broadcasts: Gauge,
    /// Open device sessions.
    pub(crate) sessions: Gauge,
    /// Sessions opened.
    pub(crate) opened: Counter,
    /// Sessions without a connection, to which their devices may come back.
    pub(crate) away: Gauge,
    /// Sessions that lost their connection.
    pub(crate) suspended: Counter,
    /// Sessions that their devices came back to.
    pub(crate) resumed: Counter,
    /// Answers that came by another way than their calls went.
    pub(crate) replayed: Counter,
    /// Calls of which a peer said which device it picked.
    pub(crate) picked: Counter,
    /// Results and parts of results that nobody waited for any more.
    pub(crate) late: Counter,
    /// Idempotent calls tried again.
    pub(crate) retries: Counter,
    /// How hard the node is pressed.
    pub(crate) pressure: Gauge,
    /// Sites that were lost.
    pub(crate) sites_lost: Counter,
    /// Devices taken over by another agent process too often.
    pub(crate) flaps: Counter,
    /// Attaches let in.
    pub(crate) attaches_admitted: Counter,
    /// Devices that became suspect.
    pub(crate) suspect: Counter,
    /// Health calls made.
    pub(crate) health_calls: Counter,
    /// Devices that were ejected.
    pub(crate) ejected: Counter,
    /// Devices that are ejected now.
    pub(crate) ejected_now: Gauge,
}

impl Metrics {
    /// Declares the metrics. The recorder must be installed before.
    pub(crate) fn new() -> Self {
        describe();
        show_what_has_not_happened();
        Self {
            answered: PATHS.map(|path| {
                counter!(CALLS, "path" => path.as_str(), "outcome" => "EXECUTED", "reason" => "", "fault" => "")
            }),
            failed: PATHS.map(failures),
            in_flight: gauge!(CALLS_IN_FLIGHT),
            broadcasts: gauge!(BROADCASTS),
            sessions: gauge!(SESSIONS),
            opened: counter!(SESSIONS_OPENED),
            away: gauge!(SESSIONS_AWAY),
            suspended: counter!(SESSIONS_LOST),
            resumed: counter!(SESSIONS_RESUMED),
            replayed: counter!(REPLAYED),
            picked: counter!(PICKED),
            late: counter!(LATE),
            retries: counter!(RETRIES),
            pressure: gauge!(PRESSURE),
            sites_lost: counter!(SITES_LOST),
            flaps: counter!(FLAPS),
            attaches_admitted: counter!(ATTACHES_ADMITTED),
            suspect: counter!(SUSPECT),
            health_calls: counter!(HEALTH_CALLS),
            ejected: counter!(EJECTED),
            ejected_now: gauge!(EJECTED_NOW),
        }
    }

    /// A call was answered by its device.
    pub(crate) fn answered(&self, path: Path) {
        self.answered[path as usize].increment(1);
    }

    /// A call failed.
    pub(crate) fn failed(&self, path: Path, failure: &Failure) {
        let at = failure.reason as usize * Outcome::ALL.len() + failure.outcome as usize;
        self.failed[path as usize][at].increment(1);
    }

    /// A device session ended.
    pub(crate) fn closed(&self, code: CloseCode) {
        counter!(SESSIONS_CLOSED, "reason" => code.as_str_name()).increment(1);
    }

    /// An attach was refused.
    pub(crate) fn attach_refused(&self, code: CloseCode) {
        counter!(ATTACHES_REFUSED, "reason" => code.as_str_name()).increment(1);
    }

    /// The node did not take some work on.
    pub(crate) fn shed(&self, work: Work) {
        counter!(SHED, "work" => work.as_str()).increment(1);
    }

    /// A peer can be reached, or cannot.
    pub(crate) fn link_up(&self, peer: &str, links: usize) {
        gauge!(LINK_UP, "peer" => peer.to_owned()).set(links as f64);
    }

    /// A peer was removed: its gauge says nothing any more, rather than that it is down or up.
    pub(crate) fn link_gone(&self, peer: &str) {
        gauge!(LINK_UP, "peer" => peer.to_owned()).set(f64::NAN);
    }

    /// A link to a peer broke.
    pub(crate) fn link_broke(&self, peer: &str) {
        counter!(LINK_BREAKS, "peer" => peer.to_owned()).increment(1);
    }
}

fn describe() {
    describe_counter!(
        CALLS,
        Unit::Count,
        "Calls that entered through this node and ended, by path, outcome, reason and whose fault it is"
    );
    describe_gauge!(CALLS_IN_FLIGHT, Unit::Count, "Calls that entered through this node and have not ended");
    describe_gauge!(BROADCASTS, Unit::Count, "Broadcasts that run on this node");
    describe_gauge!(SESSIONS, Unit::Count, "Open device sessions on this node");
    describe_counter!(SESSIONS_OPENED, Unit::Count, "Device sessions opened on this node");
    describe_counter!(SESSIONS_CLOSED, Unit::Count, "Device sessions ended on this node, by reason");
    describe_gauge!(
        SESSIONS_AWAY,
        Unit::Count,
        "Device sessions of this node without a connection, to which their devices may come back"
    );
    describe_counter!(
        SESSIONS_LOST,
        Unit::Count,
        "Device sessions that lost their connection without goodbye"
    );
    describe_counter!(SESSIONS_RESUMED, Unit::Count, "Device sessions that their devices came back to");
    describe_counter!(
        REPLAYED,
        Unit::Count,
        "Answers of devices that came back, and reached their callers by another way than the calls went"
    );
    describe_counter!(
        PICKED,
        Unit::Count,
        "Calls to groups that lasted, so that the holder told this node which device has them"
    );
    describe_counter!(ATTACHES_REFUSED, Unit::Count, "Attaches refused by this node, by reason");
    describe_counter!(LATE, Unit::Count, "Frames for calls that nobody waited for any more, dropped");
    describe_counter!(
        RETRIES,
        Unit::Count,
        "Further attempts of idempotent calls after one of which nobody knows whether it ran"
    );
    describe_gauge!(PRESSURE, "How hard the node is pressed by late tasks and full queues: 0 to 1");
    describe_counter!(
        SHED,
        Unit::Count,
        "Work that this node did not take on for the pressure or by its rate, by kind"
    );
    describe_counter!(SITES_LOST, Unit::Count, "Sites of which this node lost half of its devices at once");
    describe_counter!(
        FLAPS,
        Unit::Count,
        "Times that a device came to this node, taken over from another agent process once too often"
    );
    describe_counter!(ATTACHES_ADMITTED, Unit::Count, "Attaches that this node let in");
    describe_counter!(SUSPECT, Unit::Count, "Devices of this node whose calls made them suspect");
    describe_counter!(HEALTH_CALLS, Unit::Count, "Health calls to suspect and ejected devices of this node");
    describe_counter!(
        EJECTED,
        Unit::Count,
        "Devices of this node that failed a health call and were kept out"
    );
    describe_gauge!(EJECTED_NOW, Unit::Count, "Devices of this node that are kept out now");
    describe_gauge!(LINK_UP, Unit::Count, "Links to each peer that take calls; NaN for one that was removed");
    describe_counter!(LINK_BREAKS, Unit::Count, "Links to each peer that broke");
}
