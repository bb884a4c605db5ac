//! Everything by TLS: who has no business here is refused, and certificates are renewed without anybody noticing.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{Context, ensure};
use rollcall_agent::{Access, IdentityFiles};
use rollcall_cluster_tests::{
    Api, Certificates, Cli, Cluster, ClusterPlan, HEAL_PATIENCE, Lab, Node, SPREAD_PATIENCE, Scratch,
    wait_until,
};
use rollcall_proto::peer::{DescribeRequest, membership_service_client::MembershipServiceClient};
use rollcall_transport::{ClientFiles, Connector, Trust};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::transport::Endpoint;

const MOMENT: Duration = Duration::from_secs(5);

async fn secured() -> anyhow::Result<Cluster> {
    let cluster = ClusterPlan::of(3).secured().start().await?;
    cluster.certificates()?.renew(&[], &["phone"], 30).await?;
    Ok(cluster)
}

fn phone(cluster: &Cluster, device_id: &str) -> anyhow::Result<Lab> {
    Ok(Lab::new(device_id, "phones").access(cluster.certificates()?.access(Some("phone"))?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_speaks_by_tls_alone() -> anyhow::Result<()> {
    let cluster = secured().await?;
    let device = phone(&cluster, "phone")?.attach(&[cluster.nodes[0].device_url()]).await?;
    for node in &cluster.nodes {
        wait_until("the call arrives", SPREAD_PATIENCE, async || node.api()?.echo("phones", "phone").await)
            .await?;
    }
    let node = &cluster.nodes[0];
    for port in [node.addresses.api, node.addresses.device, node.addresses.peer, node.addresses.http] {
        ensure!(refuses_plain_text(node, port).await?, "port {port} of {} answers plain text", node.name);
    }
    let (_, page) = node.get("/metrics").await?;
    for listener in ["services", "pages", "peers"] {
        let ends = metric(&page, &expiry(listener))?;
        ensure!(ends > 1.7e9, "the certificate of {listener} ends at {ends}");
    }
    let (cli, ca) = (Cli::new().await?, cluster.certificates()?.file("ca.pem").display().to_string());
    let list = ["nodes", "list", "--addr", &node.api_url()];
    let trusting = cli.run(&[&list[..], &["--ca", &ca]].concat()).await?;
    ensure!(trusting.code == Some(0) && trusting.stdout.contains("n3"), "{trusting:?}");
    let doubting = cli.run(&list).await?;
    ensure!(doubting.code == Some(3), "a command trusted whom it does not know: {doubting:?}");
    device.shutdown().await;
    cluster.finish().await
}

/// Sends what a client without TLS sends first; the listener may say that this is no TLS, and ends the connection.
async fn refuses_plain_text(node: &Node, port: u16) -> anyhow::Result<bool> {
    let mut stream = TcpStream::connect((node.addresses.host, port)).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let mut said = Vec::new();
    let ended = timeout(MOMENT, stream.read_to_end(&mut said)).await;
    ended.with_context(|| format!("port {port} keeps a connection that speaks no TLS"))?.ok();
    // A TLS alert has seven bytes, an HTTP/2 frame at least nine.
    Ok(said.len() <= 7)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_renewed_under_load_and_nothing_is_dropped() -> anyhow::Result<()> {
    let cluster = secured().await?;
    let device = phone(&cluster, "phone")?.capacity(64).attach(&[cluster.nodes[0].device_url()]).await?;
    let before = device.attached(MOMENT).await?;
    let load = Load::begin(&cluster)?;
    let ends = metric(&cluster.nodes[0].get("/metrics").await?.1, &expiry("services"))?;
    cluster.certificates()?.renew(&["n1", "n2", "n3"], &["phone", "harness"], 60).await?;
    for (number, node) in cluster.nodes.iter().enumerate() {
        // One is told to look; the others find out by themselves.
        if number == 0 {
            node.hang_up()?;
        }
        wait_until("the new certificate is shown", HEAL_PATIENCE, async || {
            let now = metric(&node.get("/metrics").await?.1, &expiry("peers"))?;
            ensure!(now > ends, "it still ends at {now}");
            Ok(())
        })
        .await?;
    }
    // New connections, of the old and of the renewed client, are made while the old ones go on.
    let late = phone(&cluster, "late")?.attach(&[cluster.nodes[1].device_url()]).await?;
    cluster.nodes[2].api()?.echo("phones", "phone").await?;
    let calls = load.end().await?;
    ensure!(calls > 0, "there was no load");
    ensure!(device.attached(MOMENT).await? == before, "the device's session was not left alone");
    late.shutdown().await;
    device.shutdown().await;
    cluster.finish().await
}

/// Callers of every node, each of whose calls has to succeed.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    callers: Vec<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl Load {
    fn begin(cluster: &Cluster) -> anyhow::Result<Self> {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut callers = Vec::new();
        for node in &cluster.nodes {
            let (api, stop, calls) = (node.api()?, Arc::clone(&stop), Arc::clone(&calls));
            callers.push(tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    api.echo("phones", "phone").await?;
                    calls.fetch_add(1, SeqCst);
                }
                Ok(())
            }));
        }
        Ok(Self { stop, calls, callers })
    }

    async fn end(self) -> anyhow::Result<u64> {
        self.stop.store(true, SeqCst);
        for caller in self.callers {
            caller.await??;
        }
        Ok(self.calls.load(SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_certificate_leaves_the_old_one() -> anyhow::Result<()> {
    let cluster = secured().await?;
    let (node, certificates) = (&cluster.nodes[0], cluster.certificates()?);
    fs::write(certificates.file("n1.pem"), "no certificate")?;
    node.hang_up()?;
    let failed = r#"rollcall_certificate_reloads_total{listener="services",result="failed"}"#;
    wait_until("the bad file is noticed", HEAL_PATIENCE, async || {
        let now = metric(&node.get("/metrics").await?.1, failed)?;
        ensure!(now >= 1.0, "it is {now}");
        Ok(())
    })
    .await?;
    ensure!(node.output()?.contains("n1.pem holds no certificate"), "the log says nothing of it");
    // Each of these is a new connection.
    node.api()?.cluster().await?;
    cluster.settled(HEAL_PATIENCE).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_node_of_this_cluster_is_refused_at_the_peer_port() -> anyhow::Result<()> {
    let cluster = secured().await?;
    let (node, ours) = (&cluster.nodes[0], cluster.certificates()?);
    let scratch = Scratch::new("strangers")?;
    let theirs = Certificates::make(&scratch.folder("theirs")?, &["n1"], &[]).await?;
    // A careless authority, which makes the certificates of nodes and of devices.
    let careless = careless(ours, &scratch.folder("careless")?).await?;
    let ca = ours.file("ca.pem");
    let member = describe(node, &ca, Some(ours.identity("n2"))).await;
    ensure!(member.is_ok(), "a node is refused: {member:?}");
    for (who, identity) in [
        ("nobody in particular", None),
        ("a node of another cluster", Some(theirs.identity("n1"))),
        ("a device", Some(ours.identity("phone"))),
        ("a device of the nodes' own authority", Some(careless.identity("phone"))),
    ] {
        let refused = describe(node, &ca, identity).await;
        ensure!(refused.is_err(), "{who} was let in: {refused:?}");
    }
    // And the other way round: a node does not talk to whoever answers at a peer's address.
    let doubting = describe(node, &theirs.file("ca.pem"), Some(theirs.identity("n1"))).await;
    ensure!(doubting.is_err(), "a stranger's certificate was trusted: {doubting:?}");
    let (_, page) = node.get("/metrics").await?;
    let failed = metric(&page, r#"rollcall_tls_handshakes_total{listener="peers",result="failed"}"#)?;
    ensure!(failed >= 4.0, "only {failed} refusals were counted");
    scratch.discard()?;
    cluster.finish().await
}

async fn careless(nodes: &Certificates, folder: &Path) -> anyhow::Result<Certificates> {
    for (from, to) in [("ca.pem", "client-ca.pem"), ("ca-key.pem", "client-ca-key.pem")] {
        fs::copy(nodes.file(from), folder.join(to))?;
    }
    Certificates::make(folder, &[], &["phone"]).await
}

/// Asks a node at its peer port who it is.
async fn describe(node: &Node, ca: &Path, identity: Option<IdentityFiles>) -> anyhow::Result<String> {
    let connector = Connector::tls_only(ClientFiles { trust: Trust::Authorities(ca.to_owned()), identity })?;
    let endpoint = Endpoint::from_shared(connector.url(&node.peer_addr()))?;
    let asked = async {
        let channel = endpoint.connect_with_connector(connector).await?;
        let answer = MembershipServiceClient::new(channel).describe(DescribeRequest {}).await?;
        anyhow::Ok(answer.into_inner().name)
    };
    timeout(MOMENT, asked).await.context("no answer")?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_client_certificate_is_refused_and_none_is_welcome() -> anyhow::Result<()> {
    let cluster = secured().await?;
    let (node, ours) = (&cluster.nodes[0], cluster.certificates()?);
    let asked = async |access: &Access| Api::at("n1", &node.api_url(), access)?.cluster().await;
    asked(&ours.access(None)?).await?;
    asked(&ours.access(Some("phone"))?).await?;
    let scratch = Scratch::new("strangers")?;
    let theirs = Certificates::make(&scratch.folder("theirs")?, &[], &["phone"]).await?;
    fs::copy(ours.file("ca.pem"), theirs.file("ca.pem"))?;
    ensure!(asked(&theirs.access(Some("phone"))?).await.is_err(), "another authority's client was let in");
    scratch.discard()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_plain_by_accident() -> anyhow::Result<()> {
    let scratch = Scratch::new("accident")?;
    let (cli, folder) = (Cli::new().await?, scratch.folder("data")?.display().to_string());
    let bare = cli.run(&["serve", "--data-dir", &folder, "--bootstrap-expect", "1"]).await?;
    ensure!(bare.code == Some(1) && bare.stderr.contains("plain text"), "it started: {bare:?}");
    let certificates = Certificates::make(&scratch.folder("certificates")?, &["n1"], &[]).await?;
    let flags = certificates.flags("n1");
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let serve = ["serve", "--name", "n1", "--data-dir", &folder, "--bootstrap-expect", "1"];
    let local = ["--advertise-peer-addr", "localhost:7402"];
    let open = cli.run(&[&serve[..], &flags, &local].concat()).await?;
    ensure!(
        open.code == Some(1) && open.stderr.contains("anybody could do anything"),
        "it started: {open:?}"
    );
    // Others would dial a name that its certificate does not have.
    let elsewhere = [&serve[..], &flags, &["--advertise-peer-addr", "elsewhere:7402"]].concat();
    let misnamed = cli.run(&elsewhere).await?;
    ensure!(misnamed.code == Some(1) && misnamed.stderr.contains("elsewhere"), "it started: {misnamed:?}");
    scratch.discard()
}

fn expiry(listener: &str) -> String {
    format!(r#"rollcall_certificate_expiry_timestamp_seconds{{listener="{listener}"}}"#)
}

fn metric(page: &str, name: &str) -> anyhow::Result<f64> {
    let line = page.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.rsplit(' ').next()).with_context(|| format!("no {name}"))?;
    Ok(value.parse()?)
}
