//! `POST /prestop`: waits for this node's turn to leave and says what it waits for, a line each time that changes. The last
//! line is `go`: the cluster knows that the node drains, and whoever asked stops it now. Hanging up before that undoes it.

use std::{convert::Infallible, net::SocketAddr};

use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{Caller, Pages};
use crate::{cluster::Cluster, lifecycle::Leaving, limits::TURN_KEPT};

/// The last line.
pub const GO: &str = "go";

pub(super) async fn prestop<C: Cluster>(
    State(pages): State<Pages<C>>,
    ConnectInfo(Caller(caller)): ConnectInfo<Caller>,
) -> Response {
    // The port is open to scrapers and probes of other machines; who may stop this node is on this one.
    if !caller.is_some_and(is_here) {
        return (StatusCode::FORBIDDEN, "only from this machine\n").into_response();
    }
    let (lines, receiver) = mpsc::channel(1);
    tokio::spawn(wait(pages.leaving, lines));
    let lines =
        ReceiverStream::new(receiver).map(|line| Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))));
    Body::from_stream(lines).into_response()
}

/// Whether a connection comes from this machine: by loopback, or from an address that is one of its own.
fn is_here(caller: SocketAddr) -> bool {
    caller.ip().to_canonical().is_loopback()
        // Only an own address can be bound.
        || std::net::UdpSocket::bind((caller.ip(), 0)).is_ok()
}

async fn wait<C: Cluster>(leaving: Leaving<C>, lines: mpsc::Sender<String>) {
    let mut said = String::new();
    let turn = leaving.turn(|reasons| {
        let reasons = reasons.join(", ");
        if reasons != said {
            tracing::info!(waits_for = reasons, "this node is to leave and waits for its turn");
            drop(lines.try_send(reasons.clone()));
            said = reasons;
        }
    });
    tokio::select! {
        () = turn => {
            tracing::info!("it is this node's turn to leave");
            leaving.leave_after(TURN_KEPT);
            drop(lines.send(GO.to_owned()).await);
        }
        () = lines.closed() => {
            tracing::warn!("whoever wants this node to leave gave up waiting for its turn; stopped now, it may be missed");
        }
    }
}
