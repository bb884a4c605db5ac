//! A connection, plain or by TLS, and what is known of its other end.

use std::{
    fmt,
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use crate::{PeerCertificate, age::Age, gate::Pass, limits};

/// What is known of the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address; `None`: it was gone before anybody asked.
    pub address: Option<SocketAddr>,
    /// Its certificate, if it showed one; checked.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Nobody between can read or change what is said.
    pub is_encrypted: bool,
    /// When the connection is to end, if it has an age: what is endless ends by itself then.
    pub retires_at: Option<Instant>,
}

/// A connection.
pub struct Connection {
    stream: Stream,
    peer: Peer,
    /// Until it has greeted.
    opening: Option<Opening>,
    /// Until when it may last.
    age: Option<Age>,
    /// Counts it at its address until it is dropped.
    _pass: Option<Pass>,
    /// Since it has said goodbye.
    lingering: Lingering,
}

/// How long a connection stays after its goodbye.
///
/// Whoever is written to after its socket is closed answers with a reset, and a client that writes learns of that before it
/// has read what was said last: how its stream ended. So what still comes is read and dropped until the client has gone, too.
enum Lingering {
    /// It does not: this end is the client.
    Never,
    /// It will.
    Later,
    /// Until then.
    Until(Pin<Box<Sleep>>),
}

/// What is still to be read, and until when.
struct Opening {
    left: usize,
    patience: Pin<Box<Sleep>>,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        let address = stream.peer_addr().ok();
        let peer = Peer { address, certificate: None, is_encrypted: false, retires_at: None };
        Self::of(Stream::Plain(stream), peer)
    }

    pub(crate) fn tls(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        let stream = stream.into();
        let (tcp, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let peer = Peer {
            address: tcp.peer_addr().ok(),
            certificate: certificate.and_then(PeerCertificate::read).map(Arc::new),
            is_encrypted: true,
            retires_at: None,
        };
        Self::of(Stream::Tls(Box::new(stream)), peer)
    }

    fn of(stream: Stream, peer: Peer) -> Self {
        Self { stream, peer, opening: None, age: None, _pass: None, lingering: Lingering::Never }
    }

    /// The same, counted by a gate and with a time to greet in, if there is a gate.
    pub(crate) fn passed(mut self, pass: Option<Pass>) -> Self {
        let patience = || Box::pin(sleep(limits::OPENING_PATIENCE));
        self.opening = pass.is_some().then(|| Opening { left: limits::OPENING_BYTES, patience: patience() });
        self._pass = pass;
        self.lingering = Lingering::Later;
        self
    }

    /// The same, with an age, after which whoever serves it is to end it; it is cut if it is still there a grace later.
    /// `listener` is for the metrics.
    #[must_use]
    pub fn retiring(mut self, age: Duration, grace: Duration, listener: &'static str) -> Self {
        let age = Age::new(age, grace, listener);
        self.peer.retires_at = Some(age.due());
        self.age = Some(age);
        self
    }

    /// The same, opened from there; `None`: from where it looks.
    pub(crate) fn opened_from(mut self, origin: Option<SocketAddr>) -> Self {
        self.peer.address = origin.or(self.peer.address);
        self
    }

    /// What is known of the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// For HTTP clients of our own.
impl hyper_util::client::legacy::connect::Connection for Connection {
    fn connected(&self) -> hyper_util::client::legacy::connect::Connected {
        let connected = hyper_util::client::legacy::connect::Connected::new();
        match &self.stream {
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                connected.negotiated_h2()
            }
            _ => connected,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if read.is_pending() && self.age.as_mut().is_some_and(|age| age.poll_cut(cx).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let Some(opening) = &mut self.opening else { return read };
        opening.left = opening.left.saturating_sub(buf.filled().len() - before);
        if opening.left == 0 {
            self.opening = None;
            return read;
        }
        if read.is_ready() {
            return read;
        }
        opening.patience.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !matches!(this.lingering, Lingering::Until(_)) {
            ready!(match &mut this.stream {
                Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            })?;
            if matches!(this.lingering, Lingering::Never) {
                return Poll::Ready(Ok(()));
            }
            this.lingering = Lingering::Until(Box::pin(sleep(limits::LINGERING)));
        }
        let gone = this.stream.poll_gone(cx);
        match &mut this.lingering {
            Lingering::Until(patience) if gone.is_pending() => patience.as_mut().poll(cx).map(Ok),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Stream {
    /// Reads and drops what comes, until the other end has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut bytes = [0; 4096];
            let mut buffer = ReadBuf::new(&mut bytes);
            let read = match self {
                Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                Self::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            };
            if ready!(read).is_err() || buffer.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}
