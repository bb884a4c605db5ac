//! Bad input gets a clear error, and loses nothing of what is there.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use rollcall_cluster_tests::{
    Cli, Cluster, ClusterPlan, Lab, LabDevice, Node, RawDevice, SPREAD_PATIENCE, Scratch, SharedCluster,
    call, refusal,
};
use rollcall_proto::{
    api::InvokeRequest,
    device::{
        Event, Hello, Result as DeviceResult, attach_request::Frame as Up, attach_response::Frame as Down,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;

static CLUSTER: SharedCluster = SharedCluster::new(|| ClusterPlan::of(3));

/// A device on n1 that must stay callable under its epoch, whatever else is thrown at the cluster.
struct Bystander(LabDevice, u64);

impl Bystander {
    async fn attach(cluster: &Cluster, name: &str) -> anyhow::Result<Self> {
        let device = Lab::new(name, name).capacity(10).attach(&[cluster.nodes[0].device_url()]).await?;
        let (_, epoch) = device.attached(SPREAD_PATIENCE).await?;
        cluster.caught_up(SPREAD_PATIENCE).await?;
        Ok(Self(device, epoch))
    }

    async fn is_untouched(&self, cluster: &Cluster) -> anyhow::Result<()> {
        for node in &cluster.nodes {
            let answer = node.api()?.echo(&self.0.device_id, &self.0.device_id).await?;
            ensure!(answer.epoch == self.1, "its session was lost: {answer:?}");
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_too_large_is_refused_by_its_name() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "too-large").await?;
    for bytes in [16 * 1024 * 1024 + 1, 40 * 1024 * 1024] {
        let request = InvokeRequest { payload: vec![0; bytes].into(), ..call("too-large", "echo") };
        let refused = refusal(cluster.nodes[1].api()?.call(request).await)
            .with_context(|| format!("a payload of {bytes} bytes"))?;
        ensure!(refused.brief() == (Code::OutOfRange, "PAYLOAD_TOO_LARGE", "NOT_EXECUTED"), "{refused:?}");
    }
    let most = InvokeRequest { payload: vec![7; 16 * 1024 * 1024].into(), ..call("too-large", "echo") };
    let answer = cluster.nodes[1].api()?.call(most).await.context("exactly the most that is allowed")?;
    ensure!(answer.payload.len() == 16 * 1024 * 1024, "{} bytes came back", answer.payload.len());
    bystander.is_untouched(&cluster).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_too_large_fails_its_call_alone() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "blob").await?;
    let payload = Bytes::from((16 * 1024 * 1024 + 1).to_string());
    let refused =
        refusal(cluster.nodes[1].api()?.call(InvokeRequest { payload, ..call("blob", "blob") }).await)?;
    ensure!(refused.brief() == (Code::OutOfRange, "PAYLOAD_TOO_LARGE", "EXECUTED"), "{refused:?}");
    bystander.is_untouched(&cluster).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_frame_too_large_ends_that_connection_alone() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "frame").await?;
    let mut device = RawDevice::greet(&cluster.nodes[0].device_url()).await?;
    let huge = Event { name: "huge".into(), payload: vec![0; 64 * 1024 * 1024].into() };
    device.say(1, Up::Event(huge)).await?;
    device.hear_out().await.context("the connection with the huge frame")?;
    bystander.is_untouched(&cluster).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_breaks_the_protocol_is_told_so() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "protocol").await?;
    let url = cluster.nodes[0].device_url();
    let result = || Up::Result(DeviceResult { tag: 1, ..Default::default() }.into());
    let too_new =
        Hello { protocol_min: 99, protocol_max: 100, agent: "from the future".into(), ..Default::default() };
    let greeted_twice =
        Hello { protocol_min: 1, protocol_max: 1, agent: "twice".into(), ..Default::default() };
    let broken = [(false, result()), (false, Up::Hello(too_new)), (true, Up::Hello(greeted_twice))];
    for (after_hello, frame) in broken {
        let mut device =
            if after_hello { RawDevice::greet(&url).await? } else { RawDevice::connect(&url).await? };
        device.say(0, frame.clone()).await?;
        let (frames, status) = device.hear_out().await.with_context(|| format!("after {frame:?}"))?;
        let told = frames.iter().any(|frame| matches!(frame, Down::GoAway(_) | Down::Closed(_)));
        ensure!(told || status.is_some(), "after {frame:?} it was told nothing: {frames:?}");
    }
    bystander.is_untouched(&cluster).await?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_every_port_harms_nobody() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "garbage").await?;
    for port in ports(&cluster.nodes[0]) {
        for garbage in [
            b"\x00\x01\x02\xff garbage that is nothing at all \r\n\r\n".repeat(100),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            // A greeting in HTTP/2, then a frame that claims 16 MiB.
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 64]].concat(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            Vec::new(),
        ] {
            throw(port, &garbage).await?;
        }
    }
    // One that connects and says nothing, on each port, while the others are served.
    let mut silent = Vec::new();
    for port in ports(&cluster.nodes[0]) {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await?);
    }
    bystander.is_untouched(&cluster).await?;
    cluster.settled(SPREAD_PATIENCE).await?;
    cluster.finish().await
}

fn ports(node: &Node) -> [u16; 4] {
    let at = node.addresses;
    [at.api, at.device, at.peer, at.http]
}

/// Sends bytes, and takes whatever comes for a moment.
async fn throw(port: u16, bytes: &[u8]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // The node may close before all is written: that is an answer too.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_millis(300), stream.read_to_end(&mut answer)).await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_flag_or_setting_is_named() -> anyhow::Result<()> {
    let cli = Cli::new().await?;
    let flag = cli.run(&["serve", "--nmae", "n1"]).await?;
    ensure!(flag.code == Some(2) && flag.stderr.contains("--nmae"), "{flag:?}");
    let scratch = Scratch::new("settings")?;
    let file = scratch.path().join("rollcall.toml");
    std::fs::write(&file, "nmae = \"n1\"\n")?;
    let setting = cli.run(&["serve", "--config", &file.display().to_string()]).await?;
    ensure!(setting.code == Some(2) && setting.stderr.contains("nmae"), "{setting:?}");
    scratch.discard()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_in_use_is_refused() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "folder").await?;
    let (first, scratch) = (&cluster.nodes[0], Scratch::new("second")?);
    let mut arguments = first.arguments();
    for (flag, listener) in ["--api-addr", "--device-addr", "--peer-addr", "--http-addr"].into_iter().zip(0..)
    {
        let at = arguments.iter().position(|argument| argument == flag).context("a flag is missing")?;
        arguments[at + 1] = format!("127.0.0.{}:{}", 2 + listener, first.addresses.api).into();
    }
    let mut second = Cli::new().await?.start("second", &arguments, &scratch)?;
    let status = second.wait(SPREAD_PATIENCE).await?;
    ensure!(!status.success(), "it ended with {status}");
    let said = second.output();
    ensure!(said.contains("in use") && said.contains(&*first.data_dir.to_string_lossy()), "it said:\n{said}");
    bystander.is_untouched(&cluster).await?;
    scratch.discard()?;
    cluster.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() -> anyhow::Result<()> {
    let cluster = CLUSTER.visit().await?;
    let bystander = Bystander::attach(&cluster, "port").await?;
    let (first, scratch) = (&cluster.nodes[0], Scratch::new("second")?);
    let mut arguments = first.arguments();
    let at = arguments.iter().position(|argument| argument == "--data-dir").context("a flag is missing")?;
    arguments[at + 1] = scratch.path().join("data").into_os_string();
    let mut second = Cli::new().await?.start("second", &arguments, &scratch)?;
    let status = second.wait(SPREAD_PATIENCE).await?;
    let said = second.output();
    ensure!(!status.success(), "it ended with {status}:\n{said}");
    let named = ports(first).iter().any(|port| said.contains(&port.to_string()));
    ensure!(named && said.contains("in use"), "it said:\n{said}");
    bystander.is_untouched(&cluster).await?;
    scratch.discard()?;
    cluster.finish().await
}
