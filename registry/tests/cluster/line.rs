//! A line to a node that passes bytes freely, or hardly any.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
};

use super::Place;

/// What a thin line passes at once, and how often: some ten small entries a second, each with its answer.
const SIP: usize = 100;
const SIP_EVERY: Duration = Duration::from_millis(50);

/// Takes the place of an address for all who dial it, until the test's runtime ends.
pub(crate) struct Line {
    thin: Arc<AtomicBool>,
}

impl Line {
    /// Lays a line before a place that does not listen yet.
    pub(crate) async fn before(place: &mut Place) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        place.addr = listener.local_addr().unwrap();
        let thin = Arc::new(AtomicBool::new(false));
        tokio::spawn(listen(listener, place.listens, Arc::clone(&thin)));
        Self { thin }
    }

    pub(crate) fn thin(&self) {
        self.thin.store(true, Ordering::SeqCst);
    }

    pub(crate) fn thick(&self) {
        self.thin.store(false, Ordering::SeqCst);
    }
}

async fn listen(listener: TcpListener, target: SocketAddr, thin: Arc<AtomicBool>) {
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(target).await else { continue };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::spawn(carry(near_in, far_out, Arc::clone(&thin)));
        tokio::spawn(carry(far_in, near_out, Arc::clone(&thin)));
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, thin: Arc<AtomicBool>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let is_thin = thin.load(Ordering::SeqCst);
        let room = if is_thin { SIP } else { bytes.len() };
        match from.read(&mut bytes[..room]).await {
            Ok(read) if read > 0 && to.write_all(&bytes[..read]).await.is_ok() => {}
            _ => return,
        }
        if is_thin {
            tokio::time::sleep(SIP_EVERY).await;
        }
    }
}
