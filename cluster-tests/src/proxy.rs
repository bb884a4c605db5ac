//! A TCP proxy of our own before a listener: it passes bytes, delays them, holds them back, or cuts connections.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// They pass.
    Freely,
    /// They pass after so long, in their order.
    After(Duration),
    /// They wait, both ways; connections are taken and stay. What a host that lost its network looks like.
    Never,
    /// Connections are reset, and new ones too.
    Cut,
}

/// The proxy; it ends, and its connections with it, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    pass: watch::Sender<Pass>,
    listening: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything to `target`.
    ///
    /// # Errors
    /// There is no port.
    pub async fn before(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for a proxy")?;
        let address = listener.local_addr()?;
        let (pass, look) = watch::channel(Pass::Freely);
        let listening = tokio::spawn(listen(listener, target, look));
        Ok(Self { address, pass, listening })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what happens to bytes, those on their way included.
    pub fn set(&self, pass: Pass) {
        self.pass.send_replace(pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.pass.send_replace(Pass::Cut);
    }
}

async fn listen(listener: TcpListener, target: SocketAddr, look: watch::Receiver<Pass>) {
    while let Ok((near, _)) = listener.accept().await {
        // Reset rather than close politely when it is dropped: that is what a cut looks like.
        let _ = near.set_zero_linger();
        if *look.borrow() != Pass::Cut {
            tokio::spawn(join(near, target, look.clone()));
        }
    }
}

async fn join(near: TcpStream, target: SocketAddr, mut look: watch::Receiver<Pass>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true), far.set_zero_linger());
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
    let (there, back) = (carry(near_in, far_out, look.clone()), carry(far_in, near_out, look.clone()));
    tokio::select! {
        _ = there => {}
        _ = back => {}
        _ = look.wait_for(|pass| *pass == Pass::Cut) => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut look: watch::Receiver<Pass>,
) -> Option<()> {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut bytes).await.ok().filter(|read| *read > 0)?;
        let pass = *look.wait_for(|pass| *pass != Pass::Never).await.ok()?;
        if let Pass::After(delay) = pass {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&bytes[..read]).await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo_server() -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut read, mut write) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut read, &mut write).await });
            }
        });
        Ok(address)
    }

    async fn ask(stream: &mut TcpStream) -> std::io::Result<[u8; 2]> {
        stream.write_all(b"hi").await?;
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await.map(|_| answer)
    }

    #[tokio::test]
    async fn bytes_pass_wait_and_are_cut() -> anyhow::Result<()> {
        let proxy = Proxy::before(echo_server().await?).await?;
        let mut stream = TcpStream::connect(proxy.address).await?;
        anyhow::ensure!(&ask(&mut stream).await? == b"hi");
        proxy.set(Pass::Never);
        let held = tokio::time::timeout(Duration::from_millis(100), ask(&mut stream)).await;
        anyhow::ensure!(held.is_err(), "bytes passed: {held:?}");
        proxy.set(Pass::Freely);
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).await?;
        proxy.set(Pass::Cut);
        anyhow::ensure!(stream.read(&mut answer).await.map_or(true, |read| read == 0), "it was not cut");
        let mut other = TcpStream::connect(proxy.address).await?;
        anyhow::ensure!(ask(&mut other).await.is_err(), "a new connection was let through");
        Ok(())
    }
}
