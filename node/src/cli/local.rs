//! The HTTP listener of this machine's own node, found by its settings.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use bytes::Bytes;
use clap::Args;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rollcall_transport::{ClientFiles, Connector, Trust};

use super::{CliError, Exit};
use crate::config::{Environment, Layers, SettingFlags, table, value};

/// Which node of this machine.
#[derive(Debug, Args)]
pub(super) struct Local {
    /// TOML file with the node's settings [env: ROLLCALL_CONFIG]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// The node's HTTP listener, if neither its file nor ROLLCALL_HTTP_ADDR says [default: 0.0.0.0:7403]
    #[arg(long, value_name = "IP:PORT")]
    http_addr: Option<String>,
}

impl Local {
    /// Asks; the answer's status, and its body as it comes.
    ///
    /// # Errors
    /// The settings are wrong, or nobody answers.
    pub(super) async fn ask(&self, method: Method, path: &str) -> Result<(u16, Lines), CliError> {
        let (address, connector) = self.listener()?;
        let silent = |problem: String| {
            CliError::Local(Exit::Unreachable, format!("the node at {address} does not answer: {problem}"))
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", connector.url(&address.to_string())))
            .body(Empty::<Bytes>::new())
            .map_err(|error| silent(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let answer =
            client.request(request).await.map_err(|error| silent(super::client::innermost(&error)))?;
        let status = answer.status().as_u16();
        Ok((
            status,
            Lines {
                body: answer.into_body().map_err(|error| error.to_string()).boxed_unsync(),
                rest: String::new(),
            },
        ))
    }

    /// The listener's address, by loopback if it listens everywhere, and how it is spoken to: by TLS if the node has a
    /// certificate, and then with whoever shows that very one.
    fn listener(&self) -> Result<(SocketAddr, Connector), CliError> {
        let given = self.http_addr.iter().map(|address| (&table::HTTP_ADDR, address.clone())).collect();
        let flags = SettingFlags { config: self.config.clone(), given };
        let layers = Layers::gather(&flags, &Environment::of_process())?;
        let mut address = layers.parsed(&table::HTTP_ADDR, value::socket)?;
        if address.ip().is_unspecified() {
            address.set_ip(match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let certificate = layers.get(&table::TLS_CERT).text;
        if certificate.is_empty() {
            return Ok((address, Connector::default()));
        }
        let files = ClientFiles { trust: Trust::Pinned(certificate.into()), identity: None };
        let connector = Connector::tls_only(files).map_err(|error| CliError::Usage(error.to_string()))?;
        Ok((address, connector))
    }
}

/// The lines of an answer, as they come.
pub(super) struct Lines {
    body: UnsyncBoxBody<Bytes, String>,
    rest: String,
}

impl Lines {
    /// The next line; `None`: that was all.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let line = line.to_owned();
                self.rest = rest.to_owned();
                return Some(line);
            }
            let frame = self.body.frame().await?.ok()?;
            self.rest.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data)));
        }
    }

    /// All that are left.
    pub(super) async fn all(mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}
