//! The accepting end's certificates: who it is, and whose certificates it takes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use rustls::{
    ServerConfig,
    server::{NoClientAuth, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::{
    IdentityFiles, Kept, PeerCertificate, Source, TlsError,
    files::{authorities, certificates, key, provider, unusable},
    nodes_only::NodesOnly,
};

/// Whose certificates a listener takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// Nobody is asked for one.
    NotAsked,
    /// Whoever has one of this authority may show it; a wrong one is refused.
    Optional(PathBuf),
    /// Only nodes come in: with a certificate of this authority that is both a server's and a client's.
    Nodes(PathBuf),
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2.
    Grpc,
    /// HTTP/2 or HTTP/1.1.
    Web,
}

/// The files of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// Its own certificate.
    pub identity: IdentityFiles,
    /// Whose certificates it takes.
    pub clients: Clients,
    /// What is spoken.
    pub protocols: Protocols,
}

/// What a listener accepts with. A change holds for connections that come later; those that are open stay.
pub type ServerTls = Kept<ServerFiles>;

/// Made from [`ServerFiles`].
#[derive(Debug)]
pub struct ServerSide {
    pub(crate) config: Arc<ServerConfig>,
    /// Its own certificate.
    pub certificate: PeerCertificate,
}

impl ServerSide {
    /// When its own certificate ends.
    pub fn expires(&self) -> SystemTime {
        self.certificate.not_after
    }
}

impl Source for ServerFiles {
    type Made = ServerSide;
    type Error = TlsError;

    fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.identity.certificate.clone(), self.identity.key.clone()];
        match &self.clients {
            Clients::NotAsked => {}
            Clients::Optional(ca) | Clients::Nodes(ca) => files.push(ca.clone()),
        }
        files
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<ServerSide, TlsError> {
        let [own, own_key, rest @ ..] = contents else { return Err(unusable(Path::new(""), "no files")) };
        let path = &self.identity.certificate;
        let chain = certificates(path, own)?;
        let certificate = chain.first().and_then(PeerCertificate::read);
        let certificate = certificate.ok_or_else(|| unusable(path, "the certificate is malformed"))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(path, error))?
            .with_client_cert_verifier(self.verifier(rest.first().map_or(&[], Vec::as_slice))?)
            .with_single_cert(chain, key(&self.identity.key, own_key)?)
            .map_err(|error| unusable(path, error))?;
        config.alpn_protocols = match self.protocols {
            Protocols::Grpc => vec![b"h2".to_vec()],
            Protocols::Web => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        };
        Ok(ServerSide { config: Arc::new(config), certificate })
    }

    fn unreadable(path: PathBuf, cause: io::Error) -> TlsError {
        TlsError::Unreadable { path, cause }
    }
}

impl ServerFiles {
    fn verifier(&self, ca: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let (path, is_optional) = match &self.clients {
            Clients::NotAsked => return Ok(Arc::new(NoClientAuth)),
            Clients::Optional(path) => (path, true),
            Clients::Nodes(path) => (path, false),
        };
        let builder = WebPkiClientVerifier::builder_with_provider(authorities(path, ca)?, provider());
        let builder = if is_optional { builder.allow_unauthenticated() } else { builder };
        let verifier = builder.build().map_err(|error| unusable(path, error))?;
        Ok(if is_optional { verifier } else { Arc::new(NodesOnly(verifier)) })
    }
}
