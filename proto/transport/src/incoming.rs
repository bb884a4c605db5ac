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
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tonic::transport::server::TcpIncoming;

use crate::{
    Connection, Gate, ServerTls, TrustedProxies,
    gate::{Pass, Turned, network},
    handshakes::Handshakes,
    limits, metrics,
    proxied::{self, BadHeader},
    turns::Turns,
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

/// Who comes in at a listener, and how.
#[derive(Debug, Default)]
pub struct Entry {
    /// Its certificates; `None`: it speaks plain text.
    pub tls: Option<Arc<ServerTls>>,
    /// Counts connections by their addresses; `None`: nobody does.
    pub gate: Option<Gate>,
    /// The proxies before it; `None`: there are none.
    pub proxies: Option<TrustedProxies>,
    /// How many connections are let in per second; `None`: all that come.
    pub per_second: Option<u32>,
}

/// Accepts the connections of a listener. `name` is for the metrics.
///
/// Who speaks no TLS where TLS is spoken is cut off after its first bytes. With a gate, whose address has or opens too
/// many connections is turned away before anything is read, and who does not greet in HTTP/2 in time is cut off. A trusted
/// proxy first says, by the PROXY protocol, whose the connection is, and that is its address from then on; from others
/// such a header is as wrong as anything else that is no greeting.
///
/// Where connections are let in at a rate, those who come faster wait up to [`limits::TURNS_WAIT`], each address in a line of its
/// own; nothing is read from them, and nothing spent on them, before their turn.
///
/// # Errors
/// The listener has no address.
pub fn incoming(listener: TcpListener, name: &'static str, entry: Entry) -> io::Result<Incoming> {
    let address = listener.local_addr()?;
    let (taken, opened) = mpsc::channel(limits::OPENED_AHEAD);
    let listener =
        TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(limits::TCP_KEEPALIVE));
    let handshakes = Handshakes::new(limits::HANDSHAKES_AT_ONCE);
    let turns = entry.per_second.map(|rate| Turns::new(rate, Instant::now()));
    tokio::spawn(Accepting { listener, name, entry: Arc::new(entry), taken, handshakes, turns }.run());
    Ok(Incoming { opened, address })
}

struct Accepting {
    listener: TcpIncoming,
    name: &'static str,
    entry: Arc<Entry>,
    taken: mpsc::Sender<Connection>,
    handshakes: Arc<Handshakes>,
    /// Those that wait for the rate.
    turns: Option<Turns<Accepted>>,
}

/// A connection of which nothing has been read.
struct Accepted {
    stream: TcpStream,
    is_proxied: bool,
    pass: Option<Pass>,
}

impl Accepting {
    async fn run(mut self) {
        loop {
            let turn = self.turns.as_ref().and_then(Turns::next_at);
            let next = tokio::select! {
                next = self.listener.next() => next,
                () = sleep_until(turn.unwrap_or_else(Instant::now)), if turn.is_some() => {
                    self.let_in().await;
                    continue;
                }
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

    async fn accepted(&mut self, stream: TcpStream) {
        let from = stream.peer_addr().ok();
        let is_proxied = self.entry.is_proxy(from);
        let pass = match if is_proxied { Ok(None) } else { self.entry.enter(from) } {
            Ok(pass) => pass,
            Err(turned) => return metrics::turned_away(self.name, turned.why()),
        };
        let accepted = Accepted { stream, is_proxied, pass };
        let Some(turns) = &mut self.turns else { return self.begin(accepted).await };
        let Some(from) = from else { return };
        if turns.join(network(from.ip()), accepted).is_some() {
            metrics::turned_away(self.name, "too many wait");
        }
        self.let_in().await;
    }

    /// Those whose turn has come.
    async fn let_in(&mut self) {
        while let Some(accepted) = self.turns.as_mut().and_then(|turns| turns.take(Instant::now())) {
            self.begin(accepted).await;
        }
        if let Some(turns) = &self.turns {
            metrics::waiting(self.name, turns.waiting());
        }
    }

    async fn begin(&self, accepted: Accepted) {
        let Accepted { stream, is_proxied, pass } = accepted;
        if !is_proxied && self.entry.tls.is_none() {
            // The server takes what it is given at once; whoever waits here has come while it closes.
            let _ = self.taken.send(Connection::plain(stream).passed(pass)).await;
            return;
        }
        let shaking = match pass.as_ref().map(Pass::shake).transpose() {
            Ok(shaking) => shaking,
            Err(turned) => return metrics::turned_away(self.name, turned.why()),
        };
        let mut begun = self.handshakes.begin();
        let (taken, name, entry) = (self.taken.clone(), self.name, Arc::clone(&self.entry));
        tokio::spawn(async move {
            let opened = async {
                match is_proxied {
                    true => entry.open_proxied(stream, name).await,
                    false => entry.open(stream, name).await.map(|connection| connection.passed(pass)),
                }
            };
            let connection = tokio::select! {
                connection = opened => connection,
                () = begun.crowded_out() => {
                    metrics::handshake(name, "crowded out");
                    None
                }
            };
            drop((begun, shaking));
            if let Some(connection) = connection {
                let _ = taken.send(connection).await;
            }
        });
    }
}

impl Entry {
    fn is_proxy(&self, from: Option<SocketAddr>) -> bool {
        self.proxies.as_ref().zip(from).is_some_and(|(proxies, from)| proxies.contains(from.ip()))
    }

    /// Looks at where a connection comes from; one that is gone already is not counted.
    fn enter(&self, from: Option<SocketAddr>) -> Result<Option<Pass>, Turned> {
        let (Some(gate), Some(address)) = (&self.gate, from) else { return Ok(None) };
        gate.enter(address.ip()).map(Some)
    }

    /// Hears from a proxy whose connection it is, lets that in or not, and goes on as if it had come by itself.
    async fn open_proxied(&self, mut stream: TcpStream, name: &'static str) -> Option<Connection> {
        let proxy = stream.peer_addr().ok();
        let read = timeout(limits::OPENING_PATIENCE, proxied::origin(&mut stream)).await;
        let origin = match read.unwrap_or(Err(BadHeader::Late)) {
            Ok(origin) => origin,
            Err(error) => {
                metrics::turned_away(name, "proxy header");
                self.proxies.as_ref()?.say(name, proxy, &error);
                return None;
            }
        };
        let turned_away = |turned: Turned| metrics::turned_away(name, turned.why());
        let pass = self.enter(origin.or(proxy)).map_err(turned_away).ok()?;
        let shakes = pass.as_ref().filter(|_| self.tls.is_some());
        let _shaking = shakes.map(Pass::shake).transpose().map_err(turned_away).ok()?;
        self.open(stream, name).await.map(|connection| connection.opened_from(origin).passed(pass))
    }

    async fn open(&self, stream: TcpStream, name: &'static str) -> Option<Connection> {
        let Some(tls) = &self.tls else { return Some(Connection::plain(stream)) };
        let acceptor = TlsAcceptor::from(Arc::clone(&tls.current().config));
        let (result, connection) = match timeout(limits::HANDSHAKE_PATIENCE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => ("done", Some(Connection::tls(stream))),
            Ok(Err(error)) => {
                tracing::debug!(%error, listener = name, "a handshake failed");
                ("failed", None)
            }
            Err(_elapsed) => ("late", None),
        };
        metrics::handshake(name, result);
        connection
    }
}

/// The next accept may well succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn who_comes_too_fast_waits_and_too_many_are_turned_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let entry = Entry { per_second: Some(1), ..Entry::default() };
        let mut incoming = incoming(listener, "test", entry).unwrap();
        let mut clients = Vec::new();
        // One at once, and three seconds' worth of others.
        for _ in 0..5 {
            clients.push(TcpStream::connect(incoming.address()).await.unwrap());
        }
        let ours = incoming.next_connection().await.unwrap();
        assert_eq!(ours.peer().address, clients[0].local_addr().ok());
        let read = timeout(limits::TURNS_WAIT, clients[4].read(&mut [0])).await;
        assert!(!matches!(read.expect("it is turned away at once"), Ok(1..)));
        let next = timeout(limits::TURNS_WAIT, incoming.next_connection()).await.expect("its turn comes");
        assert_eq!(next.unwrap().peer().address, clients[1].local_addr().ok());
    }
}
