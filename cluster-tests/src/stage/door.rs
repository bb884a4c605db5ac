//! The way that a caller's calls take: through one node, or through whichever node answers.

use std::sync::Arc;

use rollcall_proto::{
    api::{InvokeRequest, Outcome},
    client::{CallError, Client},
};

use super::caller_ending;
use crate::{
    Api, Node,
    history::{Ending, Known},
};

/// What callers know of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doors {
    /// Each has one node, and stays with it.
    OneNode,
    /// Each has the client library, and all nodes.
    AnyNode,
}

/// The way of one caller.
#[derive(Clone)]
pub(super) enum Door {
    Node(Box<Api>),
    Client(Client),
}

impl Door {
    /// One for each node, or one for all.
    pub(super) fn of(doors: Doors, nodes: &[Arc<Node>]) -> anyhow::Result<Vec<Self>> {
        match doors {
            Doors::OneNode => nodes.iter().map(|node| Ok(Self::Node(Box::new(node.api()?)))).collect(),
            Doors::AnyNode => {
                let client = Client::builder(nodes.iter().map(|node| node.api_url())).build()?;
                Ok(vec![Self::Client(client)])
            }
        }
    }

    /// What the journal calls it.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Node(api) => &api.node,
            Self::Client(_) => "any",
        }
    }

    pub(super) async fn call(&self, request: InvokeRequest) -> Ending {
        match self {
            Self::Node(api) => caller_ending(api.call(request).await),
            Self::Client(client) => match client.invoke(request).await {
                Ok(answer) => caller_ending(Ok(answer)),
                Err(error) => failed(&error),
            },
        }
    }
}

fn failed(error: &CallError) -> Ending {
    let known = match error.outcome {
        Outcome::NotExecuted => Known::NotExecuted,
        Outcome::Executed => Known::Executed,
        Outcome::Unknown | Outcome::Unspecified => Known::Unknown,
    };
    Ending::Refused { code: error.code, reason: error.reason_name.to_string(), known }
}
