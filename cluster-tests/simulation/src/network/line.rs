//! The client's end of a stream.

use http_body_util::BodyExt;
use rollcall_registry::simulation::{Answer, LineError};
use tokio::task::AbortHandle;
use tonic::{Status, body::Body};

use super::{
    Network,
    body::Parts,
    core::{Part, Way},
};
use crate::limits::MACHINES;

/// A stream that somebody waits for; given up when it is dropped.
pub(super) struct Held {
    network: Network,
    stream: u64,
    sending: AbortHandle,
    over: bool,
}

impl Held {
    /// It has ended by itself.
    pub(super) fn is_over(&mut self) {
        self.over = true;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.sending.abort();
        if !self.over {
            self.network.0.lock().part(self.stream, Way::ToServer, Part::Reset("given up"));
        }
    }
}

pub(super) fn call(network: &Network, from: usize, address: &str, request: http::Request<Body>) -> Answer {
    let Some(to) = (0..MACHINES).find(|machine| Network::address(*machine) == address) else {
        return Box::pin(async { Err(broken("no such machine")) });
    };
    let (head, body) = request.into_parts();
    let (stream, mut parts) = network.0.lock().open(from, to, head);
    let sending = tokio::spawn(send(network.clone(), stream, Way::ToServer, body)).abort_handle();
    let held = Held { network: network.clone(), stream, sending, over: false };
    Box::pin(async move {
        match parts.recv().await {
            Some(Part::Head(head)) => {
                let body = Body::new(Parts { parts, held: Some(held) });
                Ok(http::Response::from_parts(*head, body))
            }
            Some(Part::Reset(why)) => Err(broken(why)),
            _ => Err(broken("the stream is gone")),
        }
    })
}

/// Sends a body, until nobody wants it any more.
pub(super) async fn send(network: Network, stream: u64, way: Way, mut body: Body) {
    loop {
        let part = match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => Part::Data(data),
                Err(frame) => {
                    frame.into_trailers().map_or(Part::Reset("neither data nor trailers"), Part::Trailers)
                }
            },
            Some(Err(_)) => Part::Reset("the sender broke off"),
            None => Part::End,
        };
        let is_last = matches!(part, Part::End | Part::Reset(_));
        if !network.0.lock().part(stream, way, part) || is_last {
            return;
        }
    }
}

fn broken(why: &'static str) -> LineError {
    Box::new(Status::unavailable(why))
}
