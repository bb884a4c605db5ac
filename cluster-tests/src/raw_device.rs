//! A device without an agent: it says exactly the frames that a test wants said.

use std::time::Duration;

use anyhow::{Context, bail};
use rollcall_proto::device::{
    Attach, AttachRequest, AttachResponse, Attached, Hello, Pong, Profile, attach_request::Frame as Up,
    attach_response::Frame as Down, device_service_client::DeviceServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Endpoint};

use crate::limits;

/// One device connection, frame by frame. Answers pings by itself while it is read.
#[derive(Debug)]
pub struct RawDevice {
    up: mpsc::Sender<AttachRequest>,
    down: Streaming<AttachResponse>,
}

/// How a raw device introduces itself.
#[derive(Debug, Clone)]
pub struct RawProfile {
    /// Its id, in the default namespace.
    pub device_id: String,
    /// Its only group.
    pub group: String,
    /// Its instance.
    pub instance: u64,
    /// Its attach number.
    pub attach_number: u64,
    /// What it shows of an earlier session; by default, nothing.
    pub former: Attach,
}

impl RawProfile {
    /// The first attach of an instance of its own.
    pub fn new(device_id: &str, group: &str) -> Self {
        Self {
            device_id: device_id.into(),
            group: group.into(),
            instance: rand::random(),
            attach_number: 1,
            former: Attach::default(),
        }
    }

    /// The next attach, after this one was granted so: it names no calls, and says that there are none.
    #[must_use]
    pub fn returning(mut self, attached: &Attached) -> Self {
        self.attach_number += 1;
        self.former.cluster_id.clone_from(&attached.cluster_id);
        self.former.newest_epoch = attached.epoch;
        self.former.resume_token = attached.resume_token.clone();
        self.former.lists_all = true;
        self
    }

    /// Names a call as finished.
    #[must_use]
    pub fn finished(mut self, token: &bytes::Bytes) -> Self {
        self.former.finished.push(token.clone());
        self
    }

    fn attach(&self) -> Attach {
        Attach {
            device_id: self.device_id.clone(),
            instance: self.instance,
            attach_number: self.attach_number,
            profile: Some(Profile {
                groups: vec![self.group.clone()],
                actions: vec!["echo".into()],
                capacity: 1,
                ..Default::default()
            }),
            ..self.former.clone()
        }
    }
}

impl RawDevice {
    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn connect(url: &str) -> anyhow::Result<Self> {
        let channel = Endpoint::from_shared(url.to_owned())?.connect_timeout(limits::ASK_PATIENCE);
        let client = DeviceServiceClient::new(channel.connect().await?);
        let mut client = client.max_encoding_message_size(limits::MESSAGE_BYTES);
        let (up, frames) = mpsc::channel(64);
        let down = client.attach(ReceiverStream::new(frames)).await.context("the stream was refused")?;
        Ok(Self { up, down: down.into_inner() })
    }

    /// Connects, greets, and is welcomed.
    ///
    /// # Errors
    /// Nobody listens, or it is not welcomed.
    pub async fn greet(url: &str) -> anyhow::Result<Self> {
        let mut device = Self::connect(url).await?;
        let hello = Hello { protocol_min: 1, protocol_max: 1, agent: "raw".into(), ..Default::default() };
        device.say(0, Up::Hello(hello)).await?;
        match device.hear().await? {
            Some((0, Down::Welcome(_))) => Ok(device),
            other => bail!("no welcome, but {other:?}"),
        }
    }

    /// Connects, and attaches one device on slot 1.
    ///
    /// # Errors
    /// Nobody listens, or it is refused.
    pub async fn attached(url: &str, profile: &RawProfile) -> anyhow::Result<(Self, Attached)> {
        let mut device = Self::greet(url).await?;
        let attached = device.attach(1, profile).await?;
        Ok((device, attached))
    }

    /// Attaches a device on a slot.
    ///
    /// # Errors
    /// It is refused.
    pub async fn attach(&mut self, slot: u32, profile: &RawProfile) -> anyhow::Result<Attached> {
        self.say(slot, Up::Attach(profile.attach())).await?;
        match self.hear().await? {
            Some((_, Down::Attached(attached))) => Ok(attached),
            other => bail!("not attached, but {other:?}"),
        }
    }

    /// Attaches a device on a slot, and gives the frame that refuses it.
    ///
    /// # Errors
    /// It is let in.
    pub async fn refused(&mut self, slot: u32, profile: &RawProfile) -> anyhow::Result<Down> {
        self.say(slot, Up::Attach(profile.attach())).await?;
        match self.hear().await? {
            Some((_, Down::Attached(attached))) => bail!("it is let in: {attached:?}"),
            Some((_, frame)) => Ok(frame),
            None => bail!("the stream ended without a word"),
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn say(&self, slot: u32, frame: Up) -> anyhow::Result<()> {
        let request = AttachRequest { slot, frame: Some(frame) };
        self.up.send(request).await.context("the connection is over")
    }

    /// The next frame that is not a ping, with its slot; nothing when the node ends the stream.
    ///
    /// # Errors
    /// The stream broke, or nothing came in time.
    pub async fn hear(&mut self) -> anyhow::Result<Option<(u32, Down)>> {
        self.hear_within(limits::SPREAD_PATIENCE).await
    }

    /// As [`RawDevice::hear`], with a patience.
    ///
    /// # Errors
    /// The stream broke, or nothing came in time.
    pub async fn hear_within(&mut self, patience: Duration) -> anyhow::Result<Option<(u32, Down)>> {
        let heard = tokio::time::timeout(patience, self.next()).await;
        Ok(heard.with_context(|| format!("nothing was heard for {patience:?}"))??)
    }

    /// Reads until the node ends the stream; gives all frames, and the status if it was an error.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn hear_out(&mut self) -> anyhow::Result<(Vec<Down>, Option<Status>)> {
        let mut frames = Vec::new();
        let listen = async {
            loop {
                match self.next().await {
                    Ok(Some((_, frame))) => frames.push(frame),
                    Ok(None) => return None,
                    Err(status) => return Some(status),
                }
            }
        };
        let end = tokio::time::timeout(limits::SPREAD_PATIENCE, listen).await;
        let end = end.context("the node does not end the stream")?;
        Ok((frames, end))
    }

    async fn next(&mut self) -> Result<Option<(u32, Down)>, Status> {
        while let Some(AttachResponse { slot, frame }) = self.down.message().await? {
            match frame {
                Some(Down::Ping(ping)) => {
                    let pong = AttachRequest { slot: 0, frame: Some(Up::Pong(Pong { number: ping.number })) };
                    let _ = self.up.send(pong).await;
                }
                Some(frame) => return Ok(Some((slot, frame))),
                None => {}
            }
        }
        Ok(None)
    }
}
