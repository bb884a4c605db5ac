//! How a client is set up.

use std::time::Duration;

use rollcall_transport::Access;
use thiserror::Error;
use tonic::transport::Endpoint;

use super::{Client, RetryBudget, limits, nodes::Nodes};
use crate::api::invoke_service_client::InvokeServiceClient;

/// Why there is no client.
#[derive(Debug, Error)]
pub enum BuildError {
    /// It was given no node to call through.
    #[error("there is no node to call through")]
    NoNodes,
    /// An address is malformed.
    #[error("`{address}` is no address of a node: {problem}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        problem: tonic::transport::Error,
    },
}

/// A client to be built.
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    nodes: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) attempts: u32,
    message_bytes: usize,
    access: Access,
}

impl ClientBuilder {
    pub(super) fn new(nodes: Vec<String>) -> Self {
        let (timeout, attempts) = (limits::TIMEOUT, limits::ATTEMPTS);
        Self { nodes, timeout, attempts, message_bytes: limits::MESSAGE_BYTES, access: Access::default() }
    }

    /// How long a call may take that does not say. By default [`limits::TIMEOUT`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often a call is sent at most, the first time included; 1: nothing is retried. By default
    /// [`limits::ATTEMPTS`].
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The largest message, in bytes: the nodes' `max_payload` and 64 KiB. By default [`limits::MESSAGE_BYTES`].
    #[must_use]
    pub fn message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// Whom it trusts, and as whom it calls. By default it trusts as the system does, and is nobody in particular. The
    /// scheme of a node's URL decides whether it is called by TLS.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The client. Connections are made when they are first used. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// There is no node, or the address of one is malformed.
    pub fn build(self) -> Result<Client, BuildError> {
        let mut clients = Vec::with_capacity(self.nodes.len());
        for address in &self.nodes {
            let connector = self.access.connector();
            let url = connector.url(address);
            let endpoint = Endpoint::from_shared(url)
                .map_err(|problem| BuildError::Address { address: address.clone(), problem })?;
            let channel = endpoint
                .connect_timeout(limits::CONNECT_PATIENCE)
                .http2_keep_alive_interval(limits::KEEPALIVE_INTERVAL)
                .keep_alive_timeout(limits::KEEPALIVE_TIMEOUT)
                .initial_connection_window_size(limits::WINDOW_BYTES)
                .initial_stream_window_size(limits::WINDOW_BYTES)
                .connect_with_connector_lazy(connector);
            let client = InvokeServiceClient::new(self.access.authorize(channel))
                .max_decoding_message_size(self.message_bytes)
                .max_encoding_message_size(self.message_bytes);
            clients.push(client);
        }
        if clients.is_empty() {
            return Err(BuildError::NoNodes);
        }
        let budget = RetryBudget::new(limits::RETRY_TOKENS, limits::RETRY_EARNS_MILLI);
        Ok(Client::new(Nodes::new(clients), self, budget))
    }
}
