//! Whose name a peer may use: its certificate must have the name or the host of the node that it says it is.

use rollcall_registry::{model::ids::NodeId, routes::Routes};
use rollcall_transport::Peer;
use tonic::{Request, Status, service::Interceptor};

/// What every request between nodes says of its sender.
const SOURCE_ID: &str = "rollcall-source-id";

/// Checks each request of a peer that the registry knows. Who is not known yet, or says nothing, is about to join: the
/// cluster's authority vouches for it.
#[derive(Debug, Clone)]
pub(crate) struct PeerNames {
    pub(crate) routes: Routes,
}

impl Interceptor for PeerNames {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.as_deref());
        let source = request.metadata().get(SOURCE_ID).and_then(|id| id.to_str().ok()?.parse().ok());
        let known = source.and_then(|id| self.routes.node(NodeId(id)));
        let (Some(certificate), Some(node)) = (certificate, known) else { return Ok(request) };
        let host = node.addresses.peer.rsplit_once(':').map_or("", |(host, _)| host);
        if certificate.covers(host.trim_matches(['[', ']'])) || certificate.covers(&node.name) {
            return Ok(request);
        }
        tracing::warn!(
            says = %node.name, names = ?certificate.dns_names,
            "a peer's certificate has neither the name nor the host of the node that it says it is: refused"
        );
        Err(Status::permission_denied("the certificate is not this node's"))
    }
}
