//! The certificates of a node: one set for services, devices and pages, one for peers.

use std::sync::Arc;

use rollcall_transport::{
    ClientFiles, Clients, Connector, IdentityFiles, Protocols, ServerFiles, ServerTls, TlsError, Trust,
};
use thiserror::Error;

use crate::{
    access::{AccessControl, AccessError},
    config::{PeerFiles, Permissions, SecuritySettings, Settings, Strangers},
};

/// Why a node does not start.
#[derive(Debug, Error)]
pub enum SecurityError {
    /// Something would be open by accident.
    #[error(
        "{what} would be plain text: give {settings}, or say `insecure = true` (--insecure), for trials only; \
         `rollcall tls init` makes certificates to try"
    )]
    Plain {
        /// What.
        what: &'static str,
        /// The settings that secure it.
        settings: &'static str,
    },
    /// Anybody could do anything.
    #[error(
        "anybody could do anything: give `access` a file that says who may do what, or say `access = open`, for trials only"
    )]
    Open,
    /// The rules of who may do what.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A certificate, a key or an authority.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The other nodes would refuse this node's certificate.
    #[error("the other nodes would refuse `peer_cert`: {0}")]
    Peer(String),
}

/// The certificates of a node; `None` where it speaks plain text.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// Of the API and device listeners.
    pub(crate) services: Option<Arc<ServerTls>>,
    /// Of the HTTP listener.
    pub(crate) pages: Option<Arc<ServerTls>>,
    /// Of the peer listener.
    pub(crate) peers: Option<Arc<ServerTls>>,
    /// How peers are dialled.
    pub(crate) connector: Connector,
}

impl Certificates {
    /// Reads all files.
    ///
    /// # Errors
    /// One is not right, or something would be plain text that was not said to be.
    pub fn load(settings: &Settings) -> Result<Self, SecurityError> {
        let security = &settings.security;
        refuse_plain(security)?;
        let listeners = security.listeners.as_ref();
        let asked = security.client_ca.clone().map_or(Clients::NotAsked, Clients::Optional);
        let services = listeners.map(|files| server(files, asked, Protocols::Grpc)).transpose()?;
        let pages = listeners.map(|files| server(files, Clients::NotAsked, Protocols::Web)).transpose()?;
        let (peers, connector) = match &security.peers {
            None => (None, Connector::default()),
            Some(PeerFiles { identity, ca }) => {
                let peers = server(identity, Clients::Nodes(ca.clone()), Protocols::Grpc)?;
                check_own(&peers, &settings.advertise.peer.host)?;
                let dials =
                    ClientFiles { trust: Trust::Authorities(ca.clone()), identity: Some(identity.clone()) };
                (Some(peers), Connector::tls_only(dials)?)
            }
        };
        Ok(Self { services, pages, peers, connector })
    }

    /// Each with the name that metrics and log lines give it.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &Arc<ServerTls>)> {
        let named = [("services", &self.services), ("pages", &self.pages), ("peers", &self.peers)];
        named.into_iter().filter_map(|(name, tls)| Some((name, tls.as_ref()?)))
    }
}

/// The rules of who may do what.
///
/// # Errors
/// They are not right, or there are none and that was not said to be.
pub fn access(settings: &Settings) -> Result<AccessControl, SecurityError> {
    let security = &settings.security;
    let said = match (&security.access, security.strangers) {
        (Permissions::File(path), _) => return Ok(AccessControl::load(path.clone())?),
        (Permissions::Open, _) => "access = open",
        (Permissions::Unsaid, Strangers::Welcome) => "insecure = true",
        (Permissions::Unsaid, Strangers::Refused) => return Err(SecurityError::Open),
    };
    tracing::warn!(
        said,
        "INSECURE: anybody who reaches a port may do anything; never on a network of others"
    );
    Ok(AccessControl::open())
}

fn server(
    identity: &IdentityFiles,
    clients: Clients,
    protocols: Protocols,
) -> Result<Arc<ServerTls>, TlsError> {
    ServerTls::load(ServerFiles { identity: identity.clone(), clients, protocols }).map(Arc::new)
}

fn refuse_plain(security: &SecuritySettings) -> Result<(), SecurityError> {
    let plain = [
        (
            security.listeners.is_none(),
            "the listeners for services, devices and pages",
            "tls_cert and tls_key",
        ),
        (security.peers.is_none(), "what the nodes say to each other", "peer_cert, peer_key and peer_ca"),
    ];
    for (_, what, settings) in plain.into_iter().filter(|(is_plain, ..)| *is_plain) {
        match security.strangers {
            Strangers::Refused => return Err(SecurityError::Plain { what, settings }),
            Strangers::Welcome => {
                tracing::warn!(
                    what,
                    "INSECURE: plain text, as `insecure = true` says; never on a network of others"
                );
            }
        }
    }
    Ok(())
}

/// What every other node would find, found before they do.
fn check_own(own: &ServerTls, host: &str) -> Result<(), SecurityError> {
    let certificate = &own.current().certificate;
    if !certificate.is_for_servers {
        return Err(SecurityError::Peer(
            "its extended key usage does not say that it is for servers".to_owned(),
        ));
    }
    if !certificate.covers(host) {
        let problem =
            format!("`{host}`, the host of `advertise_peer_addr`, is none of its alternative names");
        return Err(SecurityError::Peer(problem));
    }
    Ok(())
}
