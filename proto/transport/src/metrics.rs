//! Every metric of this crate, declared once.

use metrics::{counter, describe_counter};

/// Handshakes by `listener` and `result`: `done`, `failed`, `late`.
pub const HANDSHAKES: &str = "rollcall_tls_handshakes_total";

/// Describes all of them.
pub fn describe() {
    describe_counter!(HANDSHAKES, "TLS handshakes of a listener, by how they ended");
}

pub(crate) fn handshake(listener: &'static str, result: &'static str) {
    counter!(HANDSHAKES, "listener" => listener, "result" => result).increment(1);
}
