//! NATS, three servers on loopback: requests enter one, the responder is on another. Spoken to by its own Rust client.

use anyhow::{Context, ensure};
use async_nats::Client;
use bytes::Bytes;
use clap::Args;
use futures::StreamExt;
use rollcall_cluster_tests::{Process, Scratch, wait_until};

use crate::{
    children::{Helper, commands, say},
    limits::PAYLOAD_BYTES,
    load::Caller,
    registry::peer_process,
};

const SERVERS: usize = 3;
const SUBJECT: &str = "echo";

/// Three running servers, and who answers.
pub(crate) struct Nats {
    entry: String,
    _responder: Helper,
    _processes: Vec<Process>,
    scratch: Scratch,
}

/// Whom the responder answers for.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The server's address.
    server: String,
}

impl Nats {
    /// Starts them, and waits until a request has crossed from one server to the other.
    ///
    /// # Errors
    /// NATS is not installed, or does not start.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let program = peer_process::find_or_install("nats-server", "nats-server").await?;
        let scratch = Scratch::new("bench-nats")?;
        let ports = peer_process::free_ports(2 * SERVERS)?;
        let (clients, routes) = ports.split_at(SERVERS);
        let known: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let mut processes = Vec::new();
        for (number, (client, route)) in clients.iter().zip(routes).enumerate() {
            let flags = [
                ("--addr", "127.0.0.1".to_owned()),
                ("--port", client.to_string()),
                ("--server_name", format!("s{number}")),
                ("--cluster_name", "bench".to_owned()),
                ("--cluster", format!("nats://127.0.0.1:{route}")),
                ("--routes", known.join(",")),
            ];
            let arguments: Vec<String> =
                flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
            processes.push(peer_process::start(&format!("s{number}"), &program, &arguments, scratch.path())?);
        }
        for port in clients {
            peer_process::listens(*port).await?;
        }
        let url = |port: u16| format!("nats://127.0.0.1:{port}");
        let mut responder = Helper::start(&["nats-responder".to_owned(), url(clients[1])])?;
        responder.expect("subscribed").await?;
        let nats = Self { entry: url(clients[0]), _responder: responder, _processes: processes, scratch };
        let mut caller = nats.callers(1, 1).await?.pop().context("no caller")?;
        wait_until("a request crosses NATS", rollcall_cluster_tests::SPREAD_PATIENCE, async || {
            caller.client.request(SUBJECT, Bytes::new()).await.map(drop).context("nobody answers")
        })
        .await?;
        caller.call().await?;
        Ok(nats)
    }

    /// So many callers over so many connections to the server that the responder is not on.
    ///
    /// # Errors
    /// It does not listen any more.
    pub(crate) async fn callers(
        &self,
        callers: usize,
        connections: usize,
    ) -> anyhow::Result<Vec<NatsCaller>> {
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(async_nats::connect(&self.entry).await?);
        }
        let payload = Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
        let caller = |number: usize| NatsCaller {
            client: clients[number % connections].clone(),
            payload: payload.clone(),
        };
        Ok((0..callers).map(caller).collect())
    }

    /// Stops them and removes what they wrote.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        drop(self._responder);
        drop(self._processes);
        self.scratch.discard()
    }
}

/// One who asks and waits.
pub(crate) struct NatsCaller {
    client: Client,
    payload: Bytes,
}

impl Caller for NatsCaller {
    async fn call(&mut self) -> anyhow::Result<u64> {
        let answer = self.client.request(SUBJECT, self.payload.clone()).await?;
        ensure!(answer.payload.len() == self.payload.len(), "an answer of another length");
        Ok(1)
    }
}

/// The child: answers until the parent is gone.
///
/// # Errors
/// The server does not listen.
pub(crate) async fn respond(options: Options) -> anyhow::Result<()> {
    let client = async_nats::connect(&options.server).await?;
    let mut requests = client.subscribe(SUBJECT).await?;
    client.flush().await?;
    say("subscribed");
    let answering = async {
        while let Some(request) = requests.next().await {
            if let Some(reply) = request.reply {
                client.publish(reply, request.payload).await?;
            }
        }
        anyhow::Ok(())
    };
    let parent_gone = async {
        let mut commands = commands();
        while let Ok(Some(_)) = commands.next_line().await {}
    };
    tokio::select! {
        answered = answering => answered,
        () = parent_gone => Ok(()),
    }
}
