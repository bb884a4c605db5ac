//! What of a caller's connection must end by itself when the connection is to end: streams that have no end of their own.

use std::future::{Future, pending};

use rollcall_router::Reason;
use rollcall_transport::Peer;
use tokio::time::sleep_until;
use tonic::{Code, Request};

use super::status::Refusal;
use crate::limits::RETIRED_AFTER;

/// Ready when the connection of a request has reached its age and its client knows; never, if it has none.
pub(super) fn retired<T>(request: &Request<T>) -> impl Future<Output = ()> + Send + use<T> {
    let due = request.extensions().get::<Peer>().and_then(|peer| peer.retires_at);
    async move {
        match due {
            Some(due) => sleep_until(due + RETIRED_AFTER).await,
            None => pending().await,
        }
    }
}

/// How such a stream ends: what it carried and was not answered was never looked at.
pub(super) fn refusal() -> Refusal {
    Refusal::new(Code::Unavailable, Reason::ShuttingDown.as_str(), MESSAGE)
        .with("outcome", rollcall_router::Outcome::NotExecuted.as_str())
}

/// For people.
pub(super) const MESSAGE: &str =
    "this connection has reached its age (`max_connection_age`); open the stream again, on another";
