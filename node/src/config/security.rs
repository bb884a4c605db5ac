//! The settings of certificates, and of who may come in without.

use std::path::PathBuf;

use ipnet::IpNet;
use rollcall_transport::{AddressLimits, IdentityFiles};

use super::{BadValue, ConfigError, Layers, settings::conflict, table, table::Setting, value};
use crate::limits::NETWORKS_MOST;

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
    /// The proxies that say whose their connections are.
    pub proxies: Proxies,
}

/// The proxies before the listeners, by their networks; empty: there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Before the API listener.
    pub api: Vec<IpNet>,
    /// Before the device listener.
    pub device: Vec<IpNet>,
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
            proxies: Proxies {
                api: layers.parsed(&table::API_TRUSTED_PROXIES, networks)?,
                device: layers.parsed(&table::DEVICE_TRUSTED_PROXIES, networks)?,
            },
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

/// Networks by commas.
fn networks(text: &str) -> Result<Vec<IpNet>, BadValue> {
    const ALLOWED: &str = "64 networks at most, by commas, such as 10.0.0.0/8,192.0.2.1/32,2001:db8::/32";
    let network = |item: &str| {
        let network: Result<IpNet, _> = item.parse();
        match network {
            Ok(network) if network == network.trunc() => Ok(network),
            Ok(_) => Err(BadValue::new(format!("`{item}` has bits beyond its prefix"), ALLOWED)),
            Err(_) => Err(BadValue::new(format!("`{item}` is no network"), ALLOWED)),
        }
    };
    let items: Vec<_> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.len() > NETWORKS_MOST {
        return Err(BadValue::new("too many", ALLOWED));
    }
    items.into_iter().map(network).collect()
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
