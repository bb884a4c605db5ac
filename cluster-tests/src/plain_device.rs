//! A device that protects itself by nothing: it runs whatever it is told to, as often as it is told, under any epoch.
//!
//! What an agent would refuse or recognise, this one writes into the journal: so it shows what the gateway alone does.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use rollcall_proto::device::{
    Call, Detach, Result as CallResult, attach_request::Frame as Up, attach_response::Frame as Down,
};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    Node, RawDevice, RawProfile,
    history::{Journal, Sight},
};

/// The slot of its only session.
const SLOT: u32 = 1;
/// It listens for as long as its test lasts.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// One connection of such a device; it ends when this is dropped.
#[derive(Debug)]
pub struct PlainDevice {
    /// The epoch that it was told.
    pub epoch: u64,
    goodbye: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl PlainDevice {
    /// Attaches a device to a node, and runs its calls until the connection ends: each takes as many milliseconds as its
    /// payload says.
    ///
    /// # Errors
    /// It is refused.
    pub async fn attach(node: &Node, profile: &RawProfile, journal: &Arc<Journal>) -> anyhow::Result<Self> {
        let from = journal.now();
        let (connection, attached) = RawDevice::attached(&node.device_url(), profile).await?;
        journal.saw(&profile.device_id, from, Sight::Opened(attached.epoch));
        let (goodbye, said) = mpsc::channel(1);
        let (device_id, process) = (profile.device_id.clone(), journal.process());
        let runner = Runner { connection, device_id, journal: journal.clone(), process };
        Ok(Self { epoch: attached.epoch, goodbye, task: tokio::spawn(runner.run(said)) })
    }

    /// Says goodbye to the node, which ends the session.
    pub async fn detach(&self) {
        // Whose connection is over has no need to.
        let _ = self.goodbye.send(()).await;
    }
}

impl Drop for PlainDevice {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Runner {
    connection: RawDevice,
    device_id: String,
    journal: Arc<Journal>,
    process: u64,
}

impl Runner {
    async fn run(mut self, mut goodbye: mpsc::Receiver<()>) {
        let mut running = FuturesUnordered::new();
        loop {
            let say = tokio::select! {
                Some(()) = goodbye.recv() => Up::Detach(Detach { reason: "goodbye".into() }),
                Some(result) = running.next() => Up::Result(Box::new(result)),
                heard = self.connection.hear_within(PATIENCE) => match heard {
                    Ok(Some((_, Down::Call(call)))) => {
                        running.push(execute(self.journal.clone(), self.device_id.clone(), self.process, *call));
                        continue;
                    }
                    Ok(Some(_)) => continue,
                    Ok(None) | Err(_) => return,
                },
            };
            if self.connection.say(SLOT, say).await.is_err() {
                return;
            }
        }
    }
}

async fn execute(journal: Arc<Journal>, device_id: String, process: u64, call: Call) -> CallResult {
    let execution = journal.started(&device_id, process, &call.request_id, call.epoch);
    let length = String::from_utf8_lossy(&call.payload).parse().unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(length)).await;
    journal.finished(execution);
    CallResult {
        tag: call.tag,
        token: call.token,
        epoch: call.epoch,
        payload_bytes: call.payload.len() as u64,
        payload: call.payload,
        ..Default::default()
    }
}
