//! Runs one handler in a task of its own and reports how it ended, whatever happens to it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{runtime::Handle, sync::mpsc, task::AbortHandle, time::Instant};

use crate::{
    call::Call,
    core::{CallId, Outcome},
    handler::AnyHandler,
    limits,
};

/// Sends the outcome when the task ends, also when it was aborted: then after the handler's own end.
struct Report {
    call: CallId,
    outcome: Option<Outcome>,
    finished: mpsc::UnboundedSender<(CallId, Outcome)>,
}

impl Drop for Report {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or(Outcome::Stopped);
        // Nobody listens any more only when the agent itself is gone.
        let _ = self.finished.send((self.call, outcome));
    }
}

/// Starts a handler on the handlers' executor. It is dropped soon after the call's deadline, should the node's Cancel not come.
pub(super) fn start(
    executor: &Handle,
    id: CallId,
    handler: Arc<dyn AnyHandler>,
    call: Call,
    finished: mpsc::UnboundedSender<(CallId, Outcome)>,
) -> AbortHandle {
    let deadline = call.deadline.map_or_else(|| Instant::now() + FOR_EVER, |at| at + limits::DEADLINE_SLACK);
    let task = executor.spawn(async move {
        let mut report = Report { call: id, outcome: None, finished };
        let running = AssertUnwindSafe(async move { handler.start(call).await }).catch_unwind();
        report.outcome = Some(match tokio::time::timeout_at(deadline, running).await {
            Err(_) => Outcome::Stopped,
            Ok(Err(panic)) => Outcome::Failed(format!("the handler panicked: {}", said(panic.as_ref()))),
            Ok(Ok(Err(error))) => Outcome::Failed(error.into_message()),
            Ok(Ok(Ok(reply))) => Outcome::Reply {
                payload: reply.payload,
                content_type: reply.content_type,
                metadata: reply.metadata,
            },
        });
    });
    task.abort_handle()
}

/// Longer than any caller waits, and still a point in time.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
