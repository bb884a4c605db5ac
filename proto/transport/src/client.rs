//! The dialling end's certificates: whom it trusts, and who it is.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use crate::{
    IdentityFiles, Kept, Source, TlsError,
    files::{authorities, certificates, key, provider, unusable},
    pinned::Pinned,
};

/// Whose servers are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those of the authorities that the system trusts.
    #[default]
    System,
    /// Those of the authorities in this file.
    Authorities(PathBuf),
    /// The one whose certificate is the first in this file, whatever its name: a server of this very machine.
    Pinned(PathBuf),
}

/// The files of whoever dials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Whose servers are trusted.
    pub trust: Trust,
    /// Its own certificate; `None`: it shows none.
    pub identity: Option<IdentityFiles>,
}

/// What is dialled with. A change holds for connections that are opened later; those that are open stay.
pub type ClientTls = Kept<ClientFiles>;

/// Made from [`ClientFiles`].
#[derive(Debug)]
pub struct ClientSide {
    pub(crate) config: Arc<ClientConfig>,
}

impl Source for ClientFiles {
    type Made = ClientSide;
    type Error = TlsError;

    fn files(&self) -> Vec<PathBuf> {
        let own = self.identity.iter().flat_map(|own| [own.certificate.clone(), own.key.clone()]);
        let trusted = match &self.trust {
            Trust::System => None,
            Trust::Authorities(path) | Trust::Pinned(path) => Some(path.clone()),
        };
        trusted.into_iter().chain(own).collect()
    }

    fn make(&self, contents: &[Vec<u8>]) -> Result<ClientSide, TlsError> {
        let mut contents = contents.iter().map(Vec::as_slice);
        let mut next = || contents.next().unwrap_or_default();
        let verified = match &self.trust {
            Trust::System => builder(Path::new("the system"))?.with_root_certificates(system_authorities()?),
            Trust::Authorities(path) => builder(path)?.with_root_certificates(authorities(path, next())?),
            Trust::Pinned(path) => {
                let certificate = certificates(path, next())?.swap_remove(0);
                let pinned = Pinned { certificate, provider: provider() };
                builder(path)?.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
            }
        };
        let mut config = match &self.identity {
            None => verified.with_no_client_auth(),
            Some(own) => {
                let chain = certificates(&own.certificate, next())?;
                let config = verified.with_client_auth_cert(chain, key(&own.key, next())?);
                config.map_err(|error| unusable(&own.certificate, error))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(ClientSide { config: Arc::new(config) })
    }

    fn unreadable(path: PathBuf, cause: io::Error) -> TlsError {
        TlsError::Unreadable { path, cause }
    }
}

fn builder(path: &Path) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    builder.map_err(|error| unusable(path, error))
}

/// What the system trusts; single malformed ones are left out, as everybody does.
fn system_authorities() -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoSystemAuthorities) } else { Ok(Arc::new(roots)) }
}
