//! A whole node in this process, as `rollcall serve` runs it, on ports that the system chooses.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rollcall_node::{
    config::{Environment, Layers, SettingFlags, Settings, table, table::Setting},
    lifecycle::{self, ServeError},
    telemetry,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::alone::Alone;

/// How long a condition may take to hold.
const PATIENCE: Duration = Duration::from_secs(10);

/// A node that runs.
pub struct TestNode {
    pub cluster: Alone,
    stop: CancellationToken,
    task: JoinHandle<Result<lifecycle::Ended, ServeError>>,
}

/// Settings for a node on free ports, with these changed.
pub fn settings(name: &str, changed: &[(&'static Setting, &str)]) -> Settings {
    let mut given: Vec<(&'static Setting, String)> = vec![
        (&table::NAME, name.to_owned()),
        (&table::DATA_DIR, "/nowhere".to_owned()),
        (&table::BOOTSTRAP_EXPECT, "1".to_owned()),
        (&table::API_ADDR, "127.0.0.1:0".to_owned()),
        (&table::DEVICE_ADDR, "127.0.0.1:0".to_owned()),
        (&table::ADVERTISE_DEVICE_ADDR, "127.0.0.1:0".to_owned()),
        (&table::PEER_ADDR, "127.0.0.1:0".to_owned()),
        (&table::HTTP_ADDR, "127.0.0.1:0".to_owned()),
        (&table::INSECURE, "true".to_owned()),
    ];
    given.extend(changed.iter().map(|(setting, value)| (*setting, (*value).to_owned())));
    let flags = SettingFlags { config: None, given };
    let layers = Layers::gather(&flags, &Environment::default()).expect("layers");
    Settings::from_layers(&layers).expect("settings")
}

impl TestNode {
    /// A node that is ready.
    pub async fn ready(changed: &[(&'static Setting, &str)]) -> Self {
        static NODES: AtomicU32 = AtomicU32::new(0);
        let name = format!("n{}-{}", std::process::id(), NODES.fetch_add(1, Ordering::Relaxed));
        let stop = CancellationToken::new();
        let metrics = telemetry::install_metrics().expect("a recorder");
        let task = tokio::spawn(lifecycle::serve::<Alone>(settings(&name, changed), metrics, stop.clone()));
        wait_until("the node has started", || Alone::started(&name).is_some()).await;
        let cluster = Alone::started(&name).expect("a cluster");
        let node = Self { cluster, stop, task };
        node.wait_for_page("/readyz", "200 OK", "ready").await;
        node
    }

    /// A connection to the API listener.
    pub async fn api(&self) -> Channel {
        connect(&self.cluster.config().advertise.api).await
    }

    /// A connection to the device listener.
    pub async fn devices(&self) -> Channel {
        connect(&self.cluster.config().advertise.device).await
    }

    /// A page of the HTTP listener: its status line and its body.
    pub async fn page(&self, path: &str) -> (String, String) {
        self.try_page(path).await.expect("a page")
    }

    async fn try_page(&self, path: &str) -> std::io::Result<(String, String)> {
        let mut stream = TcpStream::connect(&self.cluster.config().advertise.http).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        let (head, body) = response.split_once("\r\n\r\n").expect("a body");
        Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
    }

    /// Waits until a page has this status and begins so.
    pub async fn wait_for_page(&self, path: &str, status: &str, beginning: &str) {
        let give_up = Instant::now() + PATIENCE;
        loop {
            // Refused: it does not listen yet.
            let (line, body) = self.try_page(path).await.unwrap_or_default();
            if line.ends_with(status) && body.starts_with(beginning) {
                return;
            }
            assert!(Instant::now() < give_up, "{path} is not {status} `{beginning}` but {line} `{body}`");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to stop, as the first signal does.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it has ended.
    pub async fn ended(self) -> Result<lifecycle::Ended, ServeError> {
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("the node ends in time").expect("the node does not panic")
    }
}

async fn connect(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect().await.expect("a connection")
}

/// Waits for a condition.
pub async fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "in vain: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
