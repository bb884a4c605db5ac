//! Every metric of this crate, declared once.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Handshakes by `listener` and `result`: `done`, `failed`, `late`, `crowded out`.
pub const HANDSHAKES: &str = "rollcall_tls_handshakes_total";

/// Connections that were turned away, by `listener` and `why`: `too many`, `too fast`, `too many handshakes`,
/// `proxy header`, `too many wait`.
pub const TURNED_AWAY: &str = "rollcall_connections_turned_away_total";

/// Connections that wait for their turn, by `listener`.
pub const WAITING: &str = "rollcall_connections_waiting";

/// Connections that had reached their age when they ended, by `listener` and `end`: `closed`, `cut`.
pub const RETIRED: &str = "rollcall_connections_retired_total";

/// Describes all of them, and shows 0 where a label's values are known.
pub fn describe() {
    describe_counter!(
        RETIRED,
        "Connections that ended because of their age: closed once nothing was open on them, or cut after the grace"
    );
    for end in ["closed", "cut"] {
        counter!(RETIRED, "listener" => "services", "end" => end).absolute(0);
    }
    describe_counter!(
        TURNED_AWAY,
        "Connections that were closed at once: their address has or opens too many, too many wait for their turn, or a trusted proxy did not say whose they are"
    );
    describe_gauge!(WAITING, "Connections that wait for the rate at which they are let in");
    gauge!(WAITING, "listener" => "devices").set(0.0);
    describe_counter!(HANDSHAKES, "TLS handshakes of a listener, by how they ended");
}

pub(crate) fn handshake(listener: &'static str, result: &'static str) {
    counter!(HANDSHAKES, "listener" => listener, "result" => result).increment(1);
}

pub(crate) fn turned_away(listener: &'static str, why: &'static str) {
    counter!(TURNED_AWAY, "listener" => listener, "why" => why).increment(1);
}

pub(crate) fn retired(listener: &'static str, end: &'static str) {
    counter!(RETIRED, "listener" => listener, "end" => end).increment(1);
}

pub(crate) fn waiting(listener: &'static str, count: usize) {
    gauge!(WAITING, "listener" => listener).set(count as f64);
}
