//! Who may do what, as it is stored: followed, so that a change holds on this node within a moment.

use std::sync::Arc;

use rollcall_registry::routes::Routes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{access::AccessControl, limits::STORED_RULES_LOOK, security::refresh_access};

/// Hands what is stored to whoever judges by it, now and after each change, until `stop`. Where anybody may do anything it has
/// nothing to do.
pub(super) async fn follow(routes: Routes, access: AccessControl, stop: CancellationToken) {
    if access.is_open() {
        return;
    }
    let mut known = None;
    loop {
        let stored = routes.access_rules();
        let etag = stored.as_ref().map(|rules| rules.etag);
        if etag != known {
            known = etag;
            access.store(stored.map(|rules| Arc::clone(&rules.text)));
            let access = access.clone();
            // It reads files. A look that panics changes nothing, and the next change is looked at again.
            let _ = tokio::task::spawn_blocking(move || refresh_access(&access)).await;
        }
        tokio::select! {
            () = sleep(STORED_RULES_LOOK) => {}
            () = stop.cancelled() => return,
        }
    }
}
