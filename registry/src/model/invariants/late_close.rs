//! A late close never removes a newer session.

use super::{Violation, ensure};
use crate::{model::ids::Epoch, routes::view::DeviceView};

/// Compares a device before and after a change that closes `closed`: a session of another epoch is still there.
///
/// # Errors
/// Names the device.
pub fn a_late_close_removes_nothing(
    before: Option<&DeviceView>,
    closed: Epoch,
    after: Option<&DeviceView>,
) -> Result<(), Violation> {
    let Some(before) = before else {
        return ensure(after.is_none(), || "a close made a device".into());
    };
    let session_after = after.and_then(|after| after.session);
    match before.session {
        Some(session) if session.epoch != closed => ensure(session_after == Some(session), || {
            format!("{}: closing {closed} left {session_after:?} of {session:?}", before.key)
        }),
        Some(_) | None => ensure(session_after.is_none(), || format!("{}: a close opened it", before.key)),
    }
}
