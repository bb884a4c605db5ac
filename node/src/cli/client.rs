//! A connection to the first node that answers.

use clap::Args;
use rollcall_proto::client::{CallError, Client, limits::ATTEMPTS};
use rollcall_transport::{Access, AuthorizedChannel};
use tonic::transport::Endpoint;

use super::{CliError, access::AccessArgs};
use crate::{
    config::table::ADDR_VARIABLE,
    limits::{
        CLIENT_CONNECT, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MESSAGE_OVERHEAD_BYTES, PAYLOAD_BYTES_MOST,
    },
};

/// Which nodes to ask.
#[derive(Debug, Clone, Args)]
pub struct Nodes {
    /// API addresses of nodes, by commas; the first that can be reached is asked
    /// [env: ROLLCALL_ADDR] [default: http://127.0.0.1:7400]
    #[arg(long, value_name = "URL,...", value_delimiter = ',')]
    pub addr: Vec<String>,
    #[command(flatten)]
    access: AccessArgs,
}

impl Nodes {
    /// Connects to the first that can be reached.
    ///
    /// # Errors
    /// None can; says why for each.
    pub async fn connect(&self) -> Result<AuthorizedChannel, CliError> {
        let access = self.access.load()?;
        let mut tried = Vec::new();
        for address in self.addresses() {
            match connect(&address, &access).await {
                Ok(channel) => return Ok(channel),
                Err(CliError::Unreachable(problems)) => tried.extend(problems),
                Err(other) => return Err(other),
            }
        }
        Err(CliError::Unreachable(tried))
    }

    /// Connects to a node that the cluster names, as the addresses are spoken to that were given.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) async fn connect_to(&self, address: &str) -> Result<AuthorizedChannel, CliError> {
        let by_tls = self.addresses().iter().any(|given| given.starts_with("https://"));
        let scheme = if by_tls { "https" } else { "http" };
        connect(&format!("{scheme}://{address}"), &self.access.load()?).await
    }

    /// Calls through them, in turn; each can be tried once at least.
    ///
    /// # Errors
    /// An address is none.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        let addresses = self.addresses();
        let attempts = ATTEMPTS.max(addresses.len().try_into().unwrap_or(u32::MAX));
        let client = Client::builder(addresses)
            .access(self.access.load()?)
            .attempts(attempts)
            .message_bytes(PAYLOAD_BYTES_MOST + MESSAGE_OVERHEAD_BYTES);
        client.build().map_err(|error| CliError::Usage(format!("--addr: {error}")))
    }

    /// A failed call, with who was tried if nobody could be reached.
    pub(super) async fn explain(&self, error: CallError) -> CliError {
        if error.unreachable
            && let Err(unreachable) = self.connect().await
        {
            return unreachable;
        }
        error.into()
    }

    fn addresses(&self) -> Vec<String> {
        if !self.addr.is_empty() {
            return self.addr.clone();
        }
        let variable = std::env::var(ADDR_VARIABLE).unwrap_or_default();
        let named: Vec<String> =
            variable.split(',').map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect();
        if named.is_empty() { vec!["http://127.0.0.1:7400".to_owned()] } else { named }
    }
}

/// Connects to one node.
///
/// # Errors
/// It cannot be reached, or the address is none.
async fn connect(address: &str, access: &Access) -> Result<AuthorizedChannel, CliError> {
    let connector = access.connector();
    let url = connector.url(address);
    let endpoint = Endpoint::from_shared(url)
        .map_err(|error| CliError::Usage(format!("--addr: `{address}` is no URL: {error}")))?
        .connect_timeout(CLIENT_CONNECT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    endpoint
        .connect_with_connector(connector)
        .await
        .map(|channel| access.authorize(channel))
        .map_err(|error| CliError::Unreachable(vec![(address.to_owned(), innermost(&error))]))
}

/// The cause that says most; tonic's outer one is "transport error".
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}
