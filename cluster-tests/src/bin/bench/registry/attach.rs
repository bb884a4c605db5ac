//! The way in from outside: devices that attach and detach, many on each connection, on three real nodes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};
use rollcall_proto::device::{
    Attach, AttachRequest, AttachResponse, Detach, Hello, Pong, Profile, attach_request::Frame as Up,
    attach_response::Frame as Down, device_service_client::DeviceServiceClient,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Streaming, transport::Endpoint};

use super::subject;
use crate::limits::WARM_UP;

/// Attaches per second, each answered by `Attached`, with this many devices on each of these connections.
///
/// # Errors
/// A connection broke, or an attach was refused.
pub(crate) async fn rate(urls: &[String], slots: u32, window: Duration) -> anyhow::Result<f64> {
    let done = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for (number, url) in (0..).zip(urls) {
        let site = Site::connect(url, number).await?;
        running.spawn(site.run(slots, done.clone()));
    }
    let measured = async {
        tokio::time::sleep(WARM_UP).await;
        let (from, begun) = (done.load(Relaxed), Instant::now());
        tokio::time::sleep(window).await;
        (done.load(Relaxed) - from) as f64 / begun.elapsed().as_secs_f64()
    };
    tokio::select! {
        rate = measured => Ok(rate),
        Some(ended) = running.join_next() => match ended? {
            Ok(()) => bail!("a node ended a connection"),
            Err(error) => Err(error),
        },
    }
}

/// One connection with its devices.
struct Site {
    number: u64,
    instance: u64,
    up: mpsc::UnboundedSender<AttachRequest>,
    down: Streaming<AttachResponse>,
    attaches: u64,
}

impl Site {
    async fn connect(url: &str, number: u64) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
        let (up, frames) = mpsc::unbounded_channel();
        let hello = Hello { protocol_min: 1, protocol_max: 1, agent: "bench".into(), ..Default::default() };
        up.send(AttachRequest { slot: 0, frame: Some(Up::Hello(hello)) })?;
        let frames = UnboundedReceiverStream::new(frames);
        let down = DeviceServiceClient::new(channel).attach(frames).await?.into_inner();
        // The same process in each round, as its attach numbers say: one that took its own devices over would be held back.
        let attaches = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
        Ok(Self { number, instance: number + 1, up, down, attaches })
    }

    /// Attaches all devices, and each again as soon as it is attached, until the task is dropped.
    async fn run(mut self, slots: u32, done: Arc<AtomicU64>) -> anyhow::Result<()> {
        while let Some(AttachResponse { slot, frame }) = self.down.message().await? {
            match frame {
                Some(Down::Welcome(_)) => (1..=slots).try_for_each(|slot| self.attach(slot))?,
                Some(Down::Attached(_)) => {
                    done.fetch_add(1, Relaxed);
                    self.say(slot, Up::Detach(Detach { reason: String::new() }))?;
                    self.attach(slot)?;
                }
                Some(Down::Ping(ping)) => self.say(0, Up::Pong(Pong { number: ping.number }))?,
                other => bail!("unexpected: {other:?}"),
            }
        }
        Ok(())
    }

    fn attach(&mut self, slot: u32) -> anyhow::Result<()> {
        self.attaches += 1;
        let attach = Attach {
            device_id: subject::device_id(self.number << 20 | u64::from(slot)),
            instance: self.instance,
            attach_number: self.attaches,
            profile: Some(profile(slot)),
            ..Default::default()
        };
        self.say(slot, Up::Attach(attach))
    }

    fn say(&self, slot: u32, frame: Up) -> anyhow::Result<()> {
        self.up.send(AttachRequest { slot, frame: Some(frame) }).context("the connection is over")
    }
}

fn profile(number: u32) -> Profile {
    let labels = [
        ("site", format!("site-{}", number % 100)),
        ("model", format!("model-{}", number % 7)),
        ("os", "linux-6.1".to_owned()),
    ];
    let half = if number.is_multiple_of(2) { "even" } else { "odd" };
    Profile {
        groups: vec!["sign".into(), half.into()],
        labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        actions: ["echo", "render", "restart"].map(String::from).to_vec(),
        capacity: 4,
    }
}
