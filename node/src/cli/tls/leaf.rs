//! Whose certificate is made, and what it says.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};

/// Whom a certificate is for.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// The name, which the files have too.
    pub(super) name: String,
    hosts: Vec<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
}

/// Reads `NAME[=HOST,...]`: what every node is reached by in a trial is there without being said.
pub(super) fn node(text: &str) -> Result<Leaf, String> {
    let (name, hosts) = text.split_once('=').unwrap_or((text, ""));
    let given = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
    let always = [name, "localhost", "127.0.0.1", "::1"].into_iter();
    let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(Leaf { name: file_name(name)?, hosts: always.chain(given).map(str::to_owned).collect(), usages })
}

/// Reads a client's name.
pub(super) fn client(text: &str) -> Result<Leaf, String> {
    let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(Leaf { name: file_name(text)?, hosts: Vec::new(), usages })
}

impl Leaf {
    pub(super) fn params(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(self.hosts.clone())?;
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usages);
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

fn file_name(name: &str) -> Result<String, String> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if plain && (1..=64).contains(&name.len()) && !name.starts_with('.') {
        Ok(name.to_owned())
    } else {
        Err("a name has 1 to 64 letters, digits, `-`, `_` and `.`".to_owned())
    }
}
