//! What Rollcall takes the place of: a dispatcher that locks in Redis, picks a device, releases, for every call.
//!
//! Only the dispatching is measured: the call itself costs it nothing here.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    limits::{DISPATCHERS, LOCK_LEASE, LOCK_RETRIES, TUNING},
    load::{self, Caller},
    registry::redis::{Durability, Redis},
};

const LOCK: &str = "lock";
const LOADS: &str = "loads";
/// Redis's own recipe: only its holder releases a lock.
const RELEASE: &str =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

/// A Redis with a table of devices by load, and how long a worker waits before it tries the lock again.
pub(crate) struct RedisLock {
    redis: Redis,
    retry: Duration,
}

impl RedisLock {
    /// Starts it, and finds the best of the intervals.
    ///
    /// # Errors
    /// Redis is not installed, or does not start.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut started = Self { redis: Redis::start(Durability::None).await?, retry: Duration::ZERO };
        let mut connection = started.connect().await?;
        for number in 0..crate::limits::DEVICES_PER_NODE * 3 {
            connection.ask(&["ZADD", LOADS, "0", &format!("device-{number}")]).await?;
        }
        let mut best = (0.0, Duration::ZERO);
        for retry in LOCK_RETRIES {
            started.retry = retry;
            let rate = load::rate(started.workers().await?, TUNING).await?;
            if rate > best.0 {
                best = (rate, retry);
            }
        }
        started.retry = best.1;
        Ok(started)
    }

    /// The interval that was best.
    pub(crate) fn retry(&self) -> Duration {
        self.retry
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.redis.port())).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream), request: Vec::new() })
    }

    /// The workers, each with a connection of its own.
    ///
    /// # Errors
    /// Redis does not listen any more.
    pub(crate) async fn workers(&self) -> anyhow::Result<Vec<Worker>> {
        let mut workers = Vec::new();
        for number in 0..DISPATCHERS {
            let token = format!("worker-{number}");
            workers.push(Worker { connection: self.connect().await?, token, retry: self.retry });
        }
        Ok(workers)
    }

    /// Stops it and removes its data.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        self.redis.finish()
    }
}

/// One that dispatches a call after the other.
pub(crate) struct Worker {
    connection: Connection,
    token: String,
    retry: Duration,
}

impl Caller for Worker {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let (redis, lease) = (&mut self.connection, LOCK_LEASE.as_millis().to_string());
        while redis.ask(&["SET", LOCK, &self.token, "NX", "PX", &lease]).await?.is_none() {
            tokio::time::sleep(self.retry).await;
        }
        let device = redis.ask(&["ZRANGE", LOADS, "0", "0"]).await?.context("no device")?;
        redis.ask(&["ZINCRBY", LOADS, "1", &device]).await?;
        redis.ask(&["EVAL", RELEASE, "1", LOCK, &self.token]).await?;
        redis.ask(&["ZINCRBY", LOADS, "-1", &device]).await?;
        Ok(1)
    }
}

/// A connection, one command at a time.
struct Connection {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
}

impl Connection {
    /// A command's answer: its text, that of a list's only entry, or nothing.
    async fn ask(&mut self, words: &[&str]) -> anyhow::Result<Option<String>> {
        self.request.clear();
        self.request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.request.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.stream.get_mut().write_all(&self.request).await?;
        let mut head = self.line().await?;
        if let Some(entries) = head.strip_prefix('*') {
            ensure!(entries == "1", "a list of {entries}");
            head = self.line().await?;
        }
        ensure!(!head.starts_with('-'), "Redis says {head}");
        let Some(bytes) = head.strip_prefix('$') else { return Ok(Some(head)) };
        let Ok(bytes) = bytes.parse::<usize>() else { return Ok(None) };
        let mut text = vec![0; bytes + 2];
        self.stream.read_exact(&mut text).await?;
        text.truncate(bytes);
        Ok(Some(String::from_utf8(text)?))
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        Ok(line.trim_end().to_owned())
    }
}
