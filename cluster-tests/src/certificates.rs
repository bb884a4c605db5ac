//! Certificates for clusters under test, made as a user makes them: by `rollcall tls init`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use rollcall_agent::{Access, AccessFiles, IdentityFiles};

use crate::Cli;

/// A folder of certificates: an authority for nodes, one for clients, and what they made.
#[derive(Debug, Clone)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// A folder, with certificates for these nodes and clients. Authorities that are there stay; certificates of the same
    /// name are replaced.
    ///
    /// # Errors
    /// The command's.
    pub async fn make(folder: &Path, nodes: &[&str], clients: &[&str]) -> anyhow::Result<Self> {
        let made = Self { folder: folder.to_owned() };
        made.renew(nodes, clients, 30).await?;
        Ok(made)
    }

    /// Makes these certificates anew, for so many days.
    ///
    /// # Errors
    /// The command's.
    pub async fn renew(&self, nodes: &[&str], clients: &[&str], days: u32) -> anyhow::Result<()> {
        let (folder, days) = (self.folder.display().to_string(), days.to_string());
        let mut arguments = vec!["tls", "init", &folder, "--days", &days];
        arguments.extend(nodes.iter().flat_map(|node| ["--node", node]));
        arguments.extend(clients.iter().flat_map(|client| ["--client", client]));
        let ran = Cli::new().await?.run(&arguments).await?;
        ensure!(ran.code == Some(0), "certificates: {ran:?}");
        Ok(())
    }

    /// A file of the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What a node with these certificates is started with.
    pub fn flags(&self, node: &str) -> Vec<String> {
        let file = |name: &str| self.file(name).display().to_string();
        let (certificate, key) = (file(&format!("{node}.pem")), file(&format!("{node}-key.pem")));
        [
            ("--tls-cert", certificate.clone()),
            ("--tls-key", key.clone()),
            ("--client-ca", file("client-ca.pem")),
            ("--peer-cert", certificate),
            ("--peer-key", key),
            ("--peer-ca", file("ca.pem")),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
    }

    /// Certificate and key of this name.
    pub fn identity(&self, name: &str) -> IdentityFiles {
        let (certificate, key) = (self.file(&format!("{name}.pem")), self.file(&format!("{name}-key.pem")));
        IdentityFiles { certificate, key }
    }

    /// Access of whoever trusts these nodes and shows this certificate, or none.
    ///
    /// # Errors
    /// The files are not right.
    pub fn access(&self, client: Option<&str>) -> anyhow::Result<Access> {
        let identity = client.map(|name| self.identity(name));
        Ok(Access::load(AccessFiles { ca: Some(self.file("ca.pem")), identity, token: None })?)
    }
}
