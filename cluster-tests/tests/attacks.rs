//! Abuse of the listeners by whoever can reach them. Each attack is refused or comes to nothing, and calls of others go
//! on meanwhile without one failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use rollcall_agent::Access;
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, HEAL_PATIENCE, Lab, LabDevice, SPREAD_PATIENCE, SharedCluster,
    raw_http2::{END_HEADERS, END_STREAM, Kind, PREFACE, RawHttp2, frame, header, headers},
    wait_until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::timeout,
};

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(1));

/// Longer than every time that an attacker is given: greeting, keepalive ping and its answer.
const PATIENCE: Duration = Duration::from_secs(120);
const INVOKE: &str = "/rollcall.v1.InvokeService/Invoke";
const STREAM: &str = "/rollcall.v1.InvokeService/InvokeStream";
const ATTACH: &str = "/rollcall.device.v1.DeviceService/Attach";
const FRAMES: usize = 2_000;

/// Somebody who calls a device all the time, and must succeed each time.
struct Honest {
    device: LabDevice,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    caller: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Honest {
    async fn begin(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        // Where there are certificates, by one of them.
        let access = match cluster.certificates() {
            Ok(certificates) => certificates.access(Some("harness"))?,
            Err(_none) => Access::default(),
        };
        let device = Lab::new(name, name).access(access).attach(&cluster.device_urls()).await?;
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (api, name) = (cluster.nodes[0].api()?, name.to_owned());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&calls));
        let caller = tokio::spawn(async move {
            while !stopped.load(SeqCst) {
                api.echo(&name, &name).await.context("an honest call failed")?;
                counted.fetch_add(1, SeqCst);
                // Several of them share the machine.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(())
        });
        Ok(Self { device, stop, calls, caller })
    }

    /// Some calls were made since this many.
    async fn goes_on(&self, since: u64) -> anyhow::Result<()> {
        wait_until("honest calls go on", SPREAD_PATIENCE, async || {
            ensure!(self.calls.load(SeqCst) > since + 3, "there are none");
            Ok(())
        })
        .await
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.store(true, SeqCst);
        self.caller.await??;
        self.device.shutdown().await;
        Ok(())
    }
}

/// Attacks both listeners of the shared cluster while somebody calls.
async fn attack(name: &str, attack: impl AsyncFn(u16) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let honest = Honest::begin(&cluster, name).await?;
    let at = cluster.nodes[0].addresses;
    let (services, devices) = tokio::join!(attack(at.api), attack(at.device));
    services.context("the listener for services")?;
    devices.context("the listener for devices")?;
    honest.goes_on(honest.calls.load(SeqCst)).await?;
    honest.end().await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_harm_nobody() -> anyhow::Result<()> {
    attack("reset", async |port| {
        let mut raw = RawHttp2::greet(port).await?;
        for number in 0..FRAMES as u32 {
            let stream = 2 * number + 1;
            let begin = frame(Kind::Headers, END_HEADERS, stream, &headers(INVOKE));
            let reset = frame(Kind::Reset, 0, stream, &8_u32.to_be_bytes());
            if !raw.flood(&[begin, reset].concat(), 1).await {
                break;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_small_frames_harm_nobody() -> anyhow::Result<()> {
    attack("flood", async |port| {
        let begin = frame(Kind::Headers, END_HEADERS, 1, &headers(INVOKE));
        for flood in
            [frame(Kind::Ping, 0, 0, &[7; 8]), frame(Kind::Settings, 0, 0, &[]), frame(Kind::Data, 0, 1, &[])]
        {
            let mut raw = RawHttp2::greet(port).await?;
            raw.flood(&begin, 1).await;
            raw.flood(&flood.repeat(100), FRAMES / 100).await;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_without_an_end_cost_the_connection() -> anyhow::Result<()> {
    attack("continuation", async |port| {
        let mut raw = RawHttp2::greet(port).await?;
        raw.flood(&frame(Kind::Headers, 0, 1, &headers(INVOKE)), 1).await;
        let mut more = Vec::new();
        for number in 0..100 {
            header(&mut more, &format!("x-{number}"), &"y".repeat(100));
        }
        raw.flood(&frame(Kind::Continuation, 0, 1, &more), FRAMES).await;
        raw.ended(PATIENCE).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_too_large_are_refused() -> anyhow::Result<()> {
    attack("bomb", async |port| {
        let mut raw = RawHttp2::greet(port).await?;
        let mut block = headers(INVOKE);
        // Once into the table of compression, then a byte for each further time.
        block.extend([0x40, 1, b'x', 100]);
        block.extend([b'y'; 100]);
        block.extend([0xbe; 8_000]);
        raw.flood(&frame(Kind::Headers, END_HEADERS | END_STREAM, 1, &block), 1).await;
        wait_for(&mut raw).await
    })
    .await
}

/// An answer, a reset, or the end of the connection.
async fn wait_for(raw: &mut RawHttp2) -> anyhow::Result<()> {
    raw.answered(&[Kind::Headers, Kind::Reset], 1, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_messages_that_are_too_large_are_refused() -> anyhow::Result<()> {
    attack("oversized", async |port| {
        // A frame larger than was ever allowed.
        let mut raw = RawHttp2::greet(port).await?;
        raw.flood(&frame(Kind::Data, 0, 1, &vec![0; 1 << 20]), 1).await;
        raw.ended(PATIENCE).await.context("a large frame")?;
        // A message that says that it has four gigabytes.
        let mut raw = RawHttp2::greet(port).await?;
        let message = frame(Kind::Data, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
        raw.flood(&[frame(Kind::Headers, END_HEADERS, 1, &headers(INVOKE)), message].concat(), 1).await;
        wait_for(&mut raw).await.context("a large message")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_to_say_anything_is_cut_off() -> anyhow::Result<()> {
    attack("slow", async |port| {
        let mut silent = Vec::new();
        for number in 0..300 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            // Half of them begin a greeting.
            stream.write_all(&PREFACE[..number % 2 * 10]).await?;
            silent.push(stream);
        }
        // One that begins headers and never ends them.
        let mut slow = RawHttp2::greet(port).await?;
        let begun = frame(Kind::Headers, END_HEADERS, 1, &headers(INVOKE));
        slow.flood(&begun[..begun.len() - 5], 1).await;
        for mut stream in silent {
            let mut said = Vec::new();
            let ended = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
            ended.context("it was kept")?.ok();
        }
        slow.ended(PATIENCE).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_come_byte_by_byte_are_cut_off() -> anyhow::Result<()> {
    attack("dribble", async |port| {
        let mut slow = JoinSet::new();
        for path in [INVOKE, STREAM, ATTACH] {
            for _ in 0..20 {
                let mut raw = RawHttp2::greet(port).await?;
                raw.flood(&frame(Kind::Headers, END_HEADERS, 1, &headers(path)), 1).await;
                // A megabyte, it says.
                raw.flood(&frame(Kind::Data, 0, 1, &[0, 0, 16, 0, 0]), 1).await;
                slow.spawn(async move {
                    raw.dribble(1, Duration::from_millis(500), PATIENCE).await.context(path)
                });
            }
        }
        slow.join_all().await.into_iter().collect()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_without_an_end_keep_nobody_out() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(1).secured().flag("address-handshakes", "50").start().await?;
    let (node, honest) = (&cluster.nodes[0], Honest::begin(&cluster, "handshake").await?);
    let mut half_open = Vec::new();
    for port in [node.addresses.api, node.addresses.device] {
        for number in 0..150 {
            let socket = TcpSocket::new_v4()?;
            socket.bind("127.0.0.2:0".parse()?)?;
            let mut stream = socket.connect((node.addresses.host, port).into()).await?;
            // Some of them begin one: a record of 256 bytes, it says.
            stream.write_all(&[22, 3, 1, 1, 0][..number % 2 * 5]).await?;
            half_open.push(stream);
        }
    }
    wait_until("some were turned away", HEAL_PATIENCE, async || {
        let (_, page) = node.get("/metrics").await?;
        let turned = |line: &&str| line.starts_with("rollcall_connections_turned_away_total");
        ensure!(page.lines().filter(turned).any(|line| line.contains(r#""too many handshakes""#)), "none");
        Ok(())
    })
    .await?;
    // From another address, anybody is let in at once.
    let access = cluster.certificates()?.access(Some("harness"))?;
    let late = Lab::new("late", "late").access(access).attach(&cluster.device_urls()).await?;
    honest.goes_on(honest.calls.load(SeqCst)).await?;
    for mut stream in half_open {
        let mut said = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        ended.context("it was kept")?.ok();
    }
    late.shutdown().await;
    honest.end().await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_no_more_connections_than_it_may() -> anyhow::Result<()> {
    let cluster = ClusterPlan::of(1).flag("address-connections", "40").start().await?;
    let (node, honest) = (&cluster.nodes[0], Honest::begin(&cluster, "address").await?);
    honest.goes_on(0).await?;
    let mut greedy = Vec::new();
    for _ in 0..200 {
        greedy.push(RawHttp2::greet(node.addresses.device).await);
    }
    let turned = r#"rollcall_connections_turned_away_total{listener="devices",why="too many"}"#;
    wait_until("some were turned away", HEAL_PATIENCE, async || {
        let (_, page) = node.get("/metrics").await?;
        ensure!(page.lines().any(|line| line.starts_with(turned)), "none");
        Ok(())
    })
    .await?;
    honest.goes_on(honest.calls.load(SeqCst)).await?;
    // Once they are gone, there is room again.
    drop(greedy);
    let late = Lab::new("late", "late").attach(&cluster.device_urls()).await?;
    late.attached(HEAL_PATIENCE).await?;
    late.shutdown().await;
    honest.end().await?;
    cluster.finish().await
}
