//! Every metric of this crate, declared once.

use metrics::{counter, describe_counter};

/// Handshakes by `listener` and `result`: `done`, `failed`, `late`, `crowded out`.
pub const HANDSHAKES: &str = "rollcall_tls_handshakes_total";

/// Connections that were turned away, by `listener` and `why`: `too many`, `too fast`, `too many handshakes`.
pub const TURNED_AWAY: &str = "rollcall_connections_turned_away_total";

/// Describes all of them.
pub fn describe() {
    describe_counter!(
        TURNED_AWAY,
        "Connections that were closed at once: their address has or opens too many"
    );
    describe_counter!(HANDSHAKES, "TLS handshakes of a listener, by how they ended");
}

pub(crate) fn handshake(listener: &'static str, result: &'static str) {
    counter!(HANDSHAKES, "listener" => listener, "result" => result).increment(1);
}

pub(crate) fn turned_away(listener: &'static str, why: &'static str) {
    counter!(TURNED_AWAY, "listener" => listener, "why" => why).increment(1);
}
