//! What a certificate that was judged good says of its owner.

use std::time::{Duration, SystemTime};

use rustls::{client::verify_server_name, server::ParsedCertificate};
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::limits::CERTIFICATE_NAMES;

/// The certificate of the other end: its chain, its time and the possession of its key were checked by the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    der: CertificateDer<'static>,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// The common name of the subject, if it has one.
    pub common_name: Option<String>,
    /// Alternative names that are DNS names.
    pub dns_names: Vec<String>,
    /// Alternative names that are URIs.
    pub uris: Vec<String>,
    /// When it ends.
    pub not_after: SystemTime,
    /// It may be used by a server: its extended key usage says so, by name.
    pub is_for_servers: bool,
}

impl PeerCertificate {
    /// Reads a certificate. `None`: it is malformed, which no handshake lets through.
    pub fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let common_name = parsed.subject().iter_common_name().next();
        let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
        let names = parsed.subject_alternative_name().ok().flatten();
        for name in names.iter().flat_map(|names| &names.value.general_names).take(CERTIFICATE_NAMES) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => {}
            }
        }
        let usage = parsed.extended_key_usage().ok().flatten();
        Some(Self {
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            dns_names,
            uris,
            not_after: moment(parsed.validity().not_after.timestamp()),
            is_for_servers: usage.is_some_and(|usage| usage.value.server_auth),
            fingerprint: Sha256::digest(der).into(),
            der: der.clone().into_owned(),
        })
    }

    /// Whether one of its alternative names is this host: a DNS name, also by a wildcard, or an IP address.
    pub fn covers(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else { return false };
        ParsedCertificate::try_from(&self.der).is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
    }
}

fn moment(unix_s: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_s).unwrap_or(0))
}
