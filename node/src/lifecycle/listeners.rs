//! The four listeners: all bound first, so that a port that is taken is found before anything else begins.
//!
//! The API and device ports are bound and do not listen until the node is a member: who connects before that is refused
//! at once and tries another node.

use std::{io, net::SocketAddr};

use rollcall_registry::model::command::Addresses as Advertised;
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket};

use crate::{
    config::{Addresses, HostPort, Listeners, table, table::Setting},
    limits::LISTEN_BACKLOG,
};

/// A listener could not be opened.
#[derive(Debug, Error)]
#[error("cannot listen on {address} for {audience}: {cause} (set by `{}`, --{} or {})", .setting.key, .setting.flag(), .setting.variable())]
pub struct ListenError {
    /// Whom it is for.
    pub audience: &'static str,
    /// Its address.
    pub address: SocketAddr,
    /// The setting that says so.
    pub setting: &'static Setting,
    /// What the system said.
    pub cause: io::Error,
}

/// A port that is bound and does not listen yet.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
    /// Where it is bound; never port 0.
    pub address: SocketAddr,
    audience: &'static str,
    setting: &'static Setting,
}

impl Port {
    fn bind(
        address: SocketAddr,
        audience: &'static str,
        setting: &'static Setting,
    ) -> Result<Self, ListenError> {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bound().map_err(|cause| ListenError { audience, address, setting, cause })?;
        Ok(Self { socket, address, audience, setting })
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// Another process has begun to listen there since.
    pub fn listen(self) -> Result<TcpListener, ListenError> {
        let Self { socket, address, audience, setting } = self;
        socket.listen(LISTEN_BACKLOG).map_err(|cause| ListenError { audience, address, setting, cause })
    }
}

/// The four ports.
#[derive(Debug)]
pub struct Bound {
    /// For services.
    pub api: Port,
    /// For devices.
    pub device: Port,
    /// For peers.
    pub peer: Port,
    /// For health and metrics.
    pub http: Port,
}

impl Bound {
    /// Binds all four.
    ///
    /// # Errors
    /// The first that cannot be bound.
    pub fn bind(listen: &Listeners) -> Result<Self, ListenError> {
        Ok(Self {
            api: Port::bind(listen.api, "services", &table::API_ADDR)?,
            device: Port::bind(listen.device, "devices", &table::DEVICE_ADDR)?,
            peer: Port::bind(listen.peer, "peers", &table::PEER_ADDR)?,
            http: Port::bind(listen.http, "health and metrics", &table::HTTP_ADDR)?,
        })
    }

    /// What others are told, with the ports that the system chose.
    pub fn advertised(&self, addresses: &Addresses) -> Advertised {
        let with_port = |address: &HostPort, port: &Port| {
            let chosen = if address.port == 0 { port.address.port() } else { address.port };
            HostPort { host: address.host.clone(), port: chosen }.to_string()
        };
        Advertised {
            peer: with_port(&addresses.peer, &self.peer),
            api: with_port(&addresses.api, &self.api),
            device: addresses
                .device
                .as_ref()
                .map(|address| with_port(address, &self.device))
                .unwrap_or_default(),
            http: with_port(&addresses.http, &self.http),
        }
    }
}
