//! Checks at the start that log what will hurt later.

use rustix::process::{Resource, getrlimit};

use crate::limits::OPEN_FILES_LEAST;

/// Warns of a limit on open files that a gateway will run into.
pub(super) fn warn_of_file_limit() {
    // `None` is no limit.
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    if limit < OPEN_FILES_LEAST {
        tracing::warn!(
            limit,
            wanted = OPEN_FILES_LEAST,
            "few open files are allowed, and each device connection is one; raise the limit \
             (ulimit -n, LimitNOFILE= in systemd)"
        );
    }
}
