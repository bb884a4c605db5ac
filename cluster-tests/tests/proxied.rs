//! Load balancers that say by PROXY protocol v2 whose their connections are: believed from trusted ones, and from nobody else.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{
    Cluster, ClusterPlan, HEAL_PATIENCE, Lab, Node, SPREAD_PATIENCE,
    raw_http2::{Kind, PREFACE, frame},
    wait_until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The address that the balancers of these tests have; everybody else comes from 127.0.0.1.
const BALANCER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The harness may look at everything, and nobody may attach.
const RULES: &str = r#"
[[roles]]
name = "harness"
members = ["certificate:harness"]
allow = [{ may = ["read", "administer"], namespaces = ["*"], groups = ["*"] }]
"#;

/// What a balancer says of a connection that came from there.
fn header(origin: [u8; 4]) -> Vec<u8> {
    let addresses =
        [&origin[..], &[10, 0, 0, 1], &12_345_u16.to_be_bytes(), &7_401_u16.to_be_bytes()].concat();
    [SIGNATURE, &[0x21, 0x11, 0, 12], &addresses].concat()
}

fn device_address(node: &Node) -> anyhow::Result<SocketAddr> {
    Ok(node.device_url().split("//").last().context("no address")?.parse()?)
}

/// A connection from the balancer's own address.
async fn dial(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((BALANCER, 0).into())?;
    Ok(socket.connect(to).await?)
}

/// A balancer before a node's device listener, all of whose connections come from one address.
struct Balancer {
    url: String,
    listening: JoinHandle<()>,
}

impl Balancer {
    async fn before(node: &Node, origin: [u8; 4]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (url, target) = (format!("http://{}", listener.local_addr()?), device_address(node)?);
        let listening = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut far = dial(target).await?;
                    far.write_all(&header(origin)).await?;
                    copy_bidirectional(&mut near, &mut far).await?;
                    anyhow::Ok(())
                });
            }
        });
        Ok(Self { url, listening })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn behind_balancers(more: &[(&str, &str)]) -> anyhow::Result<Cluster> {
    let plan = ClusterPlan::of(1).flag("device-trusted-proxies", "127.0.0.2/32,2001:db8::/32");
    more.iter().fold(plan, |plan, (name, value)| plan.flag(name, value)).start().await
}

/// Sends these bytes and the settings behind the greeting, and says whether the node takes them for HTTP/2: its own settings it
/// may send to anybody, but it acknowledges only what it understood.
async fn is_taken(mut stream: TcpStream, bytes: &[u8]) -> anyhow::Result<bool> {
    stream.write_all(&[bytes, &frame(Kind::Settings, 0, 0, &[])].concat()).await?;
    let acknowledged = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            stream.read_exact(&mut vec![0; usize::try_from(length)?]).await?;
            if (head[3], head[4]) == (Kind::Settings as u8, 1) {
                return anyhow::Ok(());
            }
        }
    };
    Ok(timeout(HEAL_PATIENCE, acknowledged).await.context("it neither answers nor closes")?.is_ok())
}

async fn turned_away(node: &Node, why: &str) -> anyhow::Result<()> {
    let series = format!("rollcall_connections_turned_away_total{{listener=\"devices\",why=\"{why}\"}}");
    wait_until("it is counted", SPREAD_PATIENCE, async || {
        let (_, page) = node.get("/metrics").await?;
        ensure!(page.contains(&series), "no {series}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_behind_a_balancer_is_recorded_by_its_own_address() -> anyhow::Result<()> {
    let plan = ClusterPlan::of(1).flag("device-trusted-proxies", "127.0.0.2/32").secured();
    let cluster = plan.access(RULES, &[]).start().await?;
    let node = cluster.node("n1")?;
    let balancer = Balancer::before(&node, [203, 0, 113, 7]).await?;
    let certificates = cluster.certificates()?;
    // It has a certificate, so that the handshake goes on behind the header; and no rule lets it attach.
    let stranger = Lab::new("phone", "phones").access(certificates.access(Some("harness"))?);
    let stranger = stranger.start(&[balancer.url.replace("http:", "https:")]);
    wait_until("the refusal is recorded", HEAL_PATIENCE, async || {
        let said = node.output()?;
        let recorded = |line: &str| line.contains("audit") && line.contains("203.0.113.7:12345");
        ensure!(said.lines().any(recorded), "{said}");
        Ok(())
    })
    .await?;
    stranger.shutdown().await;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_must_speak_the_protocol_and_nobody_else_may() -> anyhow::Result<()> {
    let cluster = behind_balancers(&[]).await?;
    let node = cluster.node("n1")?;
    let listener = device_address(&node)?;
    let greeting = [header([203, 0, 113, 7]), PREFACE.to_vec()].concat();

    ensure!(is_taken(dial(listener).await?, &greeting).await?, "a balancer with a header");
    ensure!(!is_taken(dial(listener).await?, PREFACE).await?, "a balancer without one");
    turned_away(&node, "proxy header").await?;
    let version_1 = [b"PROXY TCP4 203.0.113.7 10.0.0.1 12345 7401\r\n", PREFACE].concat();
    ensure!(!is_taken(dial(listener).await?, &version_1).await?, "a balancer with version 1");
    let health_check = [SIGNATURE, &[0x20, 0, 0, 0], PREFACE].concat();
    ensure!(is_taken(dial(listener).await?, &health_check).await?, "a balancer's own connection");

    let stranger = TcpStream::connect(listener).await?;
    ensure!(!is_taken(stranger, &greeting).await?, "a stranger who claims another address");
    let device = Lab::new("direct", "phones").attach(&[node.device_url()]).await?;
    let said = node.output()?;
    ensure!(said.contains("does not speak the PROXY protocol"), "nobody is told why: {said}");
    device.shutdown().await;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_the_address_that_a_balancer_says() -> anyhow::Result<()> {
    let cluster = behind_balancers(&[("address-connections", "2")]).await?;
    let node = cluster.node("n1")?;
    let listener = device_address(&node)?;
    let mut open = Vec::new();
    for (origin, may_enter) in [(7, true), (7, true), (7, false), (8, true)] {
        let mut stream = dial(listener).await?;
        stream.write_all(&[header([203, 0, 113, origin]), PREFACE.to_vec()].concat()).await?;
        let mut answer = [0; 9];
        let read =
            timeout(HEAL_PATIENCE, stream.read_exact(&mut answer)).await.context("no answer and no end")?;
        ensure!(read.is_ok() == may_enter, "203.0.113.{origin}: {read:?}");
        open.push(stream);
    }
    turned_away(&node, "too many").await?;
    cluster.finish().await
}
