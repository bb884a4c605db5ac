//! How connections are accepted: handshakes go on beside each other, within bounds and a time, and nobody waits for another's.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::TcpIncoming;

use crate::{
    Connection, Gate, ServerTls,
    gate::{Pass, Turned},
    handshakes::Handshakes,
    limits, metrics,
};

/// Connections that are open, one after the other. Dropped, its listener closes.
#[derive(Debug)]
pub struct Incoming {
    opened: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl Incoming {
    /// The next connection; `None` never comes while the runtime lives.
    pub async fn next_connection(&mut self) -> Option<Connection> {
        self.opened.recv().await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.opened.poll_recv(cx).map(|next| next.map(Ok))
    }
}

/// Accepts the connections of a listener, by TLS if there are certificates for it. `name` is for the metrics.
///
/// Who speaks no TLS where TLS is spoken is cut off after its first bytes. With a gate, whose address has or opens too
/// many connections is turned away before anything is read, and who does not greet in HTTP/2 in time is cut off.
///
/// # Errors
/// The listener has no address.
pub fn incoming(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    name: &'static str,
    gate: Option<Gate>,
) -> io::Result<Incoming> {
    let address = listener.local_addr()?;
    let (taken, opened) = mpsc::channel(limits::OPENED_AHEAD);
    let listener =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(limits::TCP_KEEPALIVE));
    let handshakes = Handshakes::new(limits::HANDSHAKES_AT_ONCE);
    tokio::spawn(Accepting { listener, tls, name, gate, taken, handshakes }.run());
    Ok(Incoming { opened, address })
}

struct Accepting {
    listener: TcpIncoming,
    tls: Option<Arc<ServerTls>>,
    name: &'static str,
    gate: Option<Gate>,
    taken: mpsc::Sender<Connection>,
    handshakes: Arc<Handshakes>,
}

impl Accepting {
    async fn run(mut self) {
        loop {
            let next = tokio::select! {
                next = self.listener.next() => next,
                () = self.taken.closed() => return,
            };
            match next {
                Some(Ok(stream)) => self.accepted(stream).await,
                Some(Err(error)) => {
                    tracing::debug!(%error, listener = self.name, "a connection was not accepted");
                    if !is_of_one_connection(&error) {
                        sleep(limits::ACCEPT_PAUSE).await;
                    }
                }
                None => return,
            }
        }
    }

    async fn accepted(&self, stream: TcpStream) {
        let pass = match self.enter(&stream) {
            Ok(pass) => pass,
            Err(turned) => return metrics::turned_away(self.name, turned.why()),
        };
        let Some(tls) = &self.tls else {
            // The server takes what it is given at once; whoever waits here has come while it closes.
            let _ = self.taken.send(Connection::plain(stream).passed(pass)).await;
            return;
        };
        let shaking = match pass.as_ref().map(Pass::shake).transpose() {
            Ok(shaking) => shaking,
            Err(turned) => return metrics::turned_away(self.name, turned.why()),
        };
        let mut begun = self.handshakes.begin();
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.current().config));
        let (taken, name) = (self.taken.clone(), self.name);
        tokio::spawn(async move {
            let shaken = tokio::select! {
                shaken = timeout(limits::HANDSHAKE_PATIENCE, acceptor.accept(stream)) => Some(shaken),
                () = begun.crowded_out() => None,
            };
            drop((begun, shaking));
            let result = match shaken {
                Some(Ok(Ok(stream))) => {
                    let _ = taken.send(Connection::tls(stream).passed(pass)).await;
                    "done"
                }
                Some(Ok(Err(error))) => {
                    tracing::debug!(%error, listener = name, "a handshake failed");
                    "failed"
                }
                Some(Err(_elapsed)) => "late",
                None => "crowded out",
            };
            metrics::handshake(name, result);
        });
    }
}

impl Accepting {
    /// Looks at where a connection comes from; one that is gone already is not counted.
    fn enter(&self, stream: &TcpStream) -> Result<Option<Pass>, Turned> {
        let (Some(gate), Ok(address)) = (&self.gate, stream.peer_addr()) else { return Ok(None) };
        gate.enter(address.ip()).map(Some)
    }
}

/// The next accept may well succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
