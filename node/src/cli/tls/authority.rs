//! An authority of one's own: two files, and the certificates that it makes.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::leaf::Leaf;

const DAY: Duration = Duration::from_secs(86_400);
/// Clocks of others may be behind.
const BACKDATED: Duration = Duration::from_secs(3_600);

/// Makes certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority of this name in a folder.
    pub(super) fn open_or_make(folder: &Path, name: &str, title: &str, days: u32) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}-key.pem")));
        if !key.exists() {
            let made = KeyPair::generate()?;
            let params = authority(title, days.max(1) * 10);
            write(&key, made.serialize_pem().as_bytes(), 0o600)?;
            write(&certificate, params.self_signed(&made)?.pem().as_bytes(), 0o644)?;
        }
        let pem =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let issuer = Issuer::from_ca_cert_pem(&pem(&certificate)?, KeyPair::from_pem(&pem(&key)?)?)
            .with_context(|| format!("{} is no authority", certificate.display()))?;
        Ok(Self { issuer })
    }

    /// Makes a certificate and its key.
    pub(super) fn issue(&self, folder: &Path, leaf: &Leaf, days: u32) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = leaf.params().with_context(|| format!("{}: a host is none", leaf.name))?;
        holds(&mut params, days);
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&folder.join(format!("{}-key.pem", leaf.name)), key.serialize_pem().as_bytes(), 0o600)?;
        write(&folder.join(format!("{}.pem", leaf.name)), certificate.pem().as_bytes(), 0o644)
    }
}

fn authority(title: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, title);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    holds(&mut params, days);
    params
}

fn holds(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * days).into();
}

/// Writes a file whole: who reads it meanwhile finds the old one or the new one.
fn write(path: &Path, contents: &[u8], mode: u32) -> anyhow::Result<()> {
    let written = || {
        let beside = path.with_extension("new");
        let _ = fs::remove_file(&beside);
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?.write_all(contents)?;
        fs::rename(&beside, path)
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}
