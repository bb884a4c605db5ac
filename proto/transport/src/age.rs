//! How old a connection may become: whoever serves it ends it then, gracefully; what is still open much later is cut.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::metrics;

/// A connection that is not to last.
#[derive(Debug)]
pub(crate) struct Age {
    due: Instant,
    cut: Pin<Box<Sleep>>,
    listener: &'static str,
}

impl Age {
    pub(crate) fn new(age: Duration, grace: Duration, listener: &'static str) -> Self {
        let due = Instant::now() + age;
        Self { due, cut: Box::pin(sleep_until(due + grace)), listener }
    }

    /// When it is to end.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Ready once its grace is over, too.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.cut.as_mut().poll(cx)
    }
}

impl Drop for Age {
    fn drop(&mut self) {
        if Instant::now() >= self.due {
            metrics::retired(self.listener, if self.cut.is_elapsed() { "cut" } else { "closed" });
        }
    }
}
