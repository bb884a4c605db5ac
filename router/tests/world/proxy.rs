//! A TCP proxy that can be cut and stalled.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Stalled,
    Cut,
}

/// A TCP proxy that can be cut and stalled.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// A proxy in front of this address.
    pub(crate) async fn start(target: SocketAddr) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let proxy = Arc::new(Self { address, mode: watch::Sender::new(Mode::Open) });
        let mode = proxy.mode.subscribe();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *mode.borrow() != Mode::Cut
                    && let Ok(server) = TcpStream::connect(target).await
                {
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::spawn(copy(from_client, to_server, mode.clone()));
                    tokio::spawn(copy(from_server, to_client, mode.clone()));
                }
            }
        });
        proxy
    }

    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    pub(crate) fn mend(&self) {
        self.mode.send_replace(Mode::Open);
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.mode.send_replace(if stalled { Mode::Stalled } else { Mode::Open });
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = *mode.borrow_and_update();
        let read = tokio::select! {
            changed = mode.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from.read(&mut buffer), if now == Mode::Open => read,
            () = std::future::ready(()), if now == Mode::Cut => return,
        };
        match read {
            Ok(length @ 1..) if to.write_all(&buffer[..length]).await.is_ok() => {}
            _ => return,
        }
    }
}
