//! How lines to peers are made: connections, unless the node is simulated.

use rollcall_transport::Connector;
#[cfg(not(feature = "simulation"))]
use tonic::transport::Channel;
use tonic::transport::Error;

use super::channels::endpoint;

/// Takes requests to one peer.
#[cfg(not(feature = "simulation"))]
pub(super) type Line = Channel;
/// Takes requests to one peer.
#[cfg(feature = "simulation")]
pub(super) use crate::simulation::Line;

/// A line that is dialled at its first use.
pub(super) fn to(connector: &Connector, address: &str) -> Result<Line, Error> {
    #[cfg(feature = "simulation")]
    if crate::simulation::is_on() {
        return Ok(Line::Simulated(address.to_owned()));
    }
    let channel = endpoint(connector, address)?.connect_with_connector_lazy(connector.clone());
    #[cfg(feature = "simulation")]
    let channel = Line::Dialled(channel);
    Ok(channel)
}

/// A line that is open.
pub(super) async fn dial(connector: &Connector, address: &str) -> Result<Line, Error> {
    #[cfg(feature = "simulation")]
    if crate::simulation::is_on() {
        return Ok(Line::Simulated(address.to_owned()));
    }
    let channel = endpoint(connector, address)?.connect_with_connector(connector.clone()).await?;
    #[cfg(feature = "simulation")]
    let channel = Line::Dialled(channel);
    Ok(channel)
}
