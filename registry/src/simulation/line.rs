//! A line to a peer: a connection, or in a simulated node what its world has instead.

use std::{
    error::Error,
    task::{Context, Poll},
};

use tonic::{
    body::Body,
    codegen::{Service, http},
    transport::Channel,
};

use super::{Answer, world};

/// Why a line broke.
pub type LineError = Box<dyn Error + Send + Sync>;

/// Takes requests to one peer. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Line {
    /// A connection.
    Dialled(Channel),
    /// To the node at this address, through the world.
    Simulated(String),
}

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = LineError;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LineError>> {
        match self {
            Self::Dialled(channel) => channel.poll_ready(context).map_err(Into::into),
            Self::Simulated(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        match self {
            Self::Dialled(channel) => {
                let answer = channel.call(request);
                Box::pin(async move { Ok(answer.await?) })
            }
            Self::Simulated(address) => match world() {
                Some(world) => world.call(address, request),
                None => Box::pin(async { Err("the node is gone".into()) }),
            },
        }
    }
}
