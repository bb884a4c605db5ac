//! etcd, three nodes on loopback with fsync: single puts, and transactions of many puts.

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{Process, Scratch, wait_until};
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{peer_process, subject};
use crate::load::Caller;

/// The part of etcd's API that is used: `etcdserverpb.KV`, field for field.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PutRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PutResponse {}
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RequestOp {
        #[prost(message, optional, tag = "2")]
        pub(super) put: Option<PutRequest>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxnRequest {
        #[prost(message, repeated, tag = "2")]
        pub(super) success: Vec<RequestOp>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxnResponse {
        #[prost(bool, tag = "2")]
        pub(super) succeeded: bool,
    }
}

/// Three running etcds.
pub(crate) struct Etcd {
    channels: Vec<Channel>,
    _processes: Vec<Process>,
    scratch: Scratch,
}

impl Etcd {
    /// Starts them, and waits until a put is committed.
    ///
    /// # Errors
    /// etcd is not installed, or does not start.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let program = peer_process::find_or_install("etcd", "etcd-server").await?;
        let scratch = Scratch::new("bench-etcd")?;
        let ports = peer_process::free_ports(6)?;
        let (clients, peers) = ports.split_at(3);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let members: Vec<String> =
            (0..3).zip(peers).map(|(number, port)| format!("e{number}={}", url(port))).collect();
        let mut processes = Vec::new();
        for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let name = format!("e{number}");
            let flags = [
                ("--name", name.clone()),
                ("--data-dir", scratch.path().join(&name).display().to_string()),
                ("--listen-client-urls", url(client)),
                ("--advertise-client-urls", url(client)),
                ("--listen-peer-urls", url(peer)),
                ("--initial-advertise-peer-urls", url(peer)),
                ("--initial-cluster", members.join(",")),
                ("--log-level", "error".to_owned()),
            ];
            let arguments: Vec<String> =
                flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
            processes.push(peer_process::start(&name, &program, &arguments, scratch.path())?);
        }
        let mut channels = Vec::new();
        for port in clients {
            peer_process::listens(*port).await?;
            let endpoint = Endpoint::from_shared(url(port))?.tcp_nodelay(true);
            // Two connections each, so that a client's lock is not what is measured.
            channels.push(endpoint.connect().await?);
            channels.push(endpoint.connect().await?);
        }
        let etcd = Self { channels, _processes: processes, scratch };
        let mut put = etcd.puts(1);
        let put = put.first_mut().context("no caller")?;
        wait_until("etcd commits", rollcall_cluster_tests::FORM_PATIENCE, async || put.call().await).await?;
        Ok(etcd)
    }

    /// So many callers, spread over all nodes, that put one key at a time.
    pub(crate) fn puts(&self, callers: usize) -> Vec<EtcdCaller> {
        self.callers(callers, 1)
    }

    /// So many callers that put so many keys in one transaction.
    pub(crate) fn transactions(&self, callers: usize, keys: usize) -> Vec<EtcdCaller> {
        self.callers(callers, keys)
    }

    fn callers(&self, callers: usize, keys: usize) -> Vec<EtcdCaller> {
        let caller = |number: usize| EtcdCaller {
            client: Grpc::new(self.channels[number % self.channels.len()].clone()),
            next: (number as u64) << 32,
            keys,
        };
        (0..callers).map(caller).collect()
    }

    /// Stops them and removes their data.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        drop(self._processes);
        self.scratch.discard()
    }
}

/// Puts keys, one or many at a time.
pub(crate) struct EtcdCaller {
    client: Grpc<Channel>,
    next: u64,
    keys: usize,
}

impl EtcdCaller {
    /// As large as a session's record.
    fn put(&mut self) -> wire::PutRequest {
        self.next += 1;
        wire::PutRequest { key: subject::device_id(self.next).into_bytes(), value: vec![b'x'; 100] }
    }
}

impl Caller for EtcdCaller {
    async fn call(&mut self) -> anyhow::Result<u64> {
        self.client.ready().await?;
        if self.keys == 1 {
            let request = tonic::Request::new(self.put());
            let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
            let _: tonic::Response<wire::PutResponse> =
                self.client.unary(request, path, ProstCodec::default()).await?;
            return Ok(1);
        }
        let success = (0..self.keys).map(|_| wire::RequestOp { put: Some(self.put()) }).collect();
        let request = tonic::Request::new(wire::TxnRequest { success });
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Txn");
        let answer: tonic::Response<wire::TxnResponse> =
            self.client.unary(request, path, ProstCodec::default()).await?;
        ensure!(answer.into_inner().succeeded, "a transaction without conditions failed");
        Ok(self.keys as u64)
    }
}
