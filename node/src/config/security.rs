//! The settings of certificates, and of who may come in without.

use std::path::PathBuf;

use rollcall_transport::{AddressLimits, IdentityFiles};

use super::{BadValue, ConfigError, Layers, settings::conflict, table, table::Setting, value};

/// Certificates, and what may be without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecuritySettings {
    /// Of the API, device and HTTP listeners.
    pub listeners: Option<IdentityFiles>,
    /// The authorities whose certificates services and devices may show.
    pub client_ca: Option<PathBuf>,
    /// For the other nodes.
    pub peers: Option<PeerFiles>,
    /// Who may do what.
    pub access: Permissions,
    /// What happens to what is not secured.
    pub strangers: Strangers,
    /// What one address may do.
    pub addresses: AddressLimits,
}

/// The files for the other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFiles {
    /// This node's certificate.
    pub identity: IdentityFiles,
    /// The cluster's own authority.
    pub ca: PathBuf,
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// Nobody said: anybody may do anything where strangers are welcome, and the node does not start elsewhere.
    Unsaid,
    /// Anybody may do anything, as somebody said.
    Open,
    /// What this file allows, and nothing else.
    File(PathBuf),
}

/// What happens to what is not secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strangers {
    /// The node does not start.
    Refused,
    /// It is open, and that is said.
    Welcome,
}

impl SecuritySettings {
    pub(super) fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let file = |setting| layers.parsed(setting, optional_path);
        let listeners = identity(layers, &table::TLS_CERT, &table::TLS_KEY)?;
        let (client_ca, peer_ca) = (file(&table::CLIENT_CA)?, file(&table::PEER_CA)?);
        let peers = match (identity(layers, &table::PEER_CERT, &table::PEER_KEY)?, peer_ca) {
            (Some(identity), Some(ca)) => Some(PeerFiles { identity, ca }),
            (None, None) => None,
            _ => {
                return Err(conflict(
                    layers,
                    &table::PEER_CERT,
                    &table::PEER_CA,
                    "peers need both, or neither",
                ));
            }
        };
        if client_ca.is_some() && listeners.is_none() {
            let rule = "only who has a certificate can ask for one";
            return Err(conflict(layers, &table::CLIENT_CA, &table::TLS_CERT, rule));
        }
        let strangers = layers.parsed(&table::INSECURE, strangers)?;
        let addresses = AddressLimits {
            connections: layers.parsed(&table::ADDRESS_CONNECTIONS, value::up_to_a_million)?,
            per_second: layers.parsed(&table::ADDRESS_RATE, value::up_to_a_million)?,
            handshakes: layers.parsed(&table::ADDRESS_HANDSHAKES, value::up_to_a_million)?,
        };
        Ok(Self {
            listeners,
            client_ca,
            peers,
            access: layers.parsed(&table::ACCESS, permissions)?,
            strangers,
            addresses,
        })
    }
}

fn identity(
    layers: &Layers,
    certificate: &'static Setting,
    key: &'static Setting,
) -> Result<Option<IdentityFiles>, ConfigError> {
    match (layers.parsed(certificate, optional_path)?, layers.parsed(key, optional_path)?) {
        (Some(certificate), Some(key)) => Ok(Some(IdentityFiles { certificate, key })),
        (None, None) => Ok(None),
        _ => Err(conflict(layers, certificate, key, "a certificate and its key go together")),
    }
}

fn optional_path(text: &str) -> Result<Option<PathBuf>, BadValue> {
    Ok(Some(text).filter(|text| !text.is_empty()).map(PathBuf::from))
}

fn permissions(text: &str) -> Result<Permissions, BadValue> {
    Ok(match text {
        "" => Permissions::Unsaid,
        "open" => Permissions::Open,
        path => Permissions::File(path.into()),
    })
}

fn strangers(text: &str) -> Result<Strangers, BadValue> {
    match text {
        "true" => Ok(Strangers::Welcome),
        "false" => Ok(Strangers::Refused),
        _ => Err(BadValue::new("neither", "true, false")),
    }
}
