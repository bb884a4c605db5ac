//! Redis, one server: `SET NX`, one at a time without durability, and pipelined with `appendfsync always`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::{Context, bail};
use rollcall_cluster_tests::{Process, Scratch};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{peer_process, subject};
use crate::load::Caller;

/// Whether an answer means that the change is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing is written: as a lock server is often run.
    None,
    /// Each answer comes after an fsync.
    Always,
}

/// A running Redis.
pub(crate) struct Redis {
    port: u16,
    /// Ranges of keys that were given to callers.
    ranges: AtomicU64,
    _process: Process,
    scratch: Scratch,
}

impl Redis {
    /// Starts it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub(crate) async fn start(durability: Durability) -> anyhow::Result<Self> {
        let program = peer_process::find_or_install("redis-server", "redis-server").await?;
        let scratch = Scratch::new("bench-redis")?;
        let port = *peer_process::free_ports(1)?.first().context("no port")?;
        let mut flags = vec![("--port", port.to_string()), ("--bind", "127.0.0.1".to_owned())];
        flags.push(("--dir", scratch.path().display().to_string()));
        flags.push(("--save", String::new()));
        if durability == Durability::Always {
            flags.push(("--appendonly", "yes".to_owned()));
            flags.push(("--appendfsync", "always".to_owned()));
        }
        let arguments: Vec<String> =
            flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        let process = peer_process::start("redis", &program, &arguments, scratch.path())?;
        peer_process::listens(port).await?;
        Ok(Self { port, ranges: AtomicU64::new(0), _process: process, scratch })
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// So many connections, each with so many commands outstanding.
    ///
    /// # Errors
    /// It does not listen any more.
    pub(crate) async fn callers(
        &self,
        connections: usize,
        pipelined: usize,
    ) -> anyhow::Result<Vec<RedisCaller>> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.set_nodelay(true)?;
            // A range of its own, in each round too: `NX` refuses a key that is there.
            let next = self.ranges.fetch_add(1, Relaxed) << 32;
            callers.push(RedisCaller { stream, next, pipelined, request: Vec::new(), answer: Vec::new() });
        }
        Ok(callers)
    }

    /// Stops it and removes its data.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        drop(self._process);
        self.scratch.discard()
    }
}

/// A connection that sets new keys.
pub(crate) struct RedisCaller {
    stream: TcpStream,
    next: u64,
    pipelined: usize,
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// What Redis says to a `SET NX` of a new key.
const OK: &[u8] = b"+OK\r\n";

impl Caller for RedisCaller {
    async fn call(&mut self) -> anyhow::Result<u64> {
        self.request.clear();
        for _ in 0..self.pipelined {
            self.next += 1;
            let key = subject::device_id(self.next);
            let (key_bytes, value) = (key.len(), "x".repeat(100));
            let set = format!("*4\r\n$3\r\nSET\r\n${key_bytes}\r\n{key}\r\n$100\r\n{value}\r\n$2\r\nNX\r\n");
            self.request.extend_from_slice(set.as_bytes());
        }
        self.stream.write_all(&self.request).await?;
        self.answer.resize(self.pipelined * OK.len(), 0);
        self.stream.read_exact(&mut self.answer).await?;
        if !self.answer.chunks(OK.len()).all(|one| one == OK) {
            bail!("Redis says {:?}", String::from_utf8_lossy(&self.answer));
        }
        Ok(self.pipelined as u64)
    }
}
