//! The server's end of streams.

use http::Request;
use tokio::sync::mpsc::UnboundedReceiver;
use tonic::{body::Body, service::Routes};
use tower::Service;

use super::{
    Network,
    body::Parts,
    core::{Arriving, Part, Way},
    line,
};

/// Answers what arrives, until the runtime is gone.
pub(super) async fn serve(network: Network, mut arriving: UnboundedReceiver<Arriving>, routes: Routes) {
    while let Some(Arriving { stream, head, body }) = arriving.recv().await {
        let (answering, routes) = (network.clone(), routes.clone());
        let request = Request::from_parts(head, Body::new(Parts { parts: body, held: None }));
        let task = tokio::spawn(answer(answering, stream, routes, request));
        network.0.lock().serving(stream, task.abort_handle());
    }
}

async fn answer(network: Network, stream: u64, mut routes: Routes, request: Request<Body>) {
    let Ok(response) = routes.call(request).await;
    let (head, body) = response.into_parts();
    network.0.lock().part(stream, Way::ToClient, Part::Head(Box::new(head)));
    line::send(network, stream, Way::ToClient, body).await;
}
