//! What a cluster is to be like, before it starts.

use crate::Cluster;

/// The plan of a cluster.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    pub(crate) founders: u16,
    pub(crate) flags: Vec<String>,
    pub(crate) beside_another: bool,
    pub(crate) data_dirs: Vec<(String, std::path::PathBuf)>,
    pub(crate) own_network: bool,
    pub(crate) is_secured: bool,
    pub(crate) access: Vec<(String, String)>,
    pub(crate) is_advertised: bool,
    pub(crate) has_faults: bool,
}

impl ClusterPlan {
    /// A cluster of so many founders, `n1` and up.
    pub fn of(founders: u16) -> Self {
        Self {
            founders,
            flags: Vec::new(),
            beside_another: false,
            data_dirs: Vec::new(),
            own_network: false,
            is_secured: false,
            access: Vec::new(),
            is_advertised: false,
            has_faults: false,
        }
    }

    /// Passes `--name value` to every node.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self.flags.extend([format!("--{name}"), value.to_owned()]);
        self
    }

    /// Puts a node's data into this folder.
    #[must_use]
    pub fn data_dir(mut self, node: &str, folder: &std::path::Path) -> Self {
        self.data_dirs.push((node.to_owned(), folder.to_owned()));
        self
    }

    /// The test runs another cluster already, and this one is to take no turn of its own: waiting for a second turn
    /// while holding one could wait for ever.
    #[must_use]
    pub fn beside_another(mut self) -> Self {
        self.beside_another = true;
        self
    }

    /// Puts each node into a network namespace of its own, see [`crate::Network`]. Ask [`crate::Cluster::network`]
    /// whether that was permitted.
    #[must_use]
    pub fn own_network(mut self) -> Self {
        self.own_network = true;
        self
    }

    /// Gives each node certificates, instead of starting it with `--insecure`: everything speaks by TLS, and what the
    /// harness itself asks comes as the client `harness`.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.is_secured = true;
        self
    }

    /// With [`Self::secured`]: the rules of who may do what, and files beside them. By default anybody may do anything.
    #[must_use]
    pub fn access(mut self, rules: &str, beside: &[(&str, &str)]) -> Self {
        self.access = vec![("access.toml".to_owned(), rules.to_owned())];
        self.access.extend(beside.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        self
    }

    /// Lets the nodes tell devices where each of them is, so that a device that is asked to move is led to a node. Without,
    /// devices know only the servers that they were given.
    #[must_use]
    pub fn advertised(mut self) -> Self {
        self.is_advertised = true;
        self
    }

    /// Takes nodes whose faults can be switched, see [`crate::Node::switch`].
    #[must_use]
    pub fn with_faults(mut self) -> Self {
        self.has_faults = true;
        self
    }

    /// Makes the folders and ports, and starts nothing.
    ///
    /// # Errors
    /// The programs do not build; no turn, no port, no disk.
    pub async fn prepare(self) -> anyhow::Result<Cluster> {
        Cluster::prepare(self).await
    }

    /// Starts all founders and waits until they are ready.
    ///
    /// # Errors
    /// As [`ClusterPlan::prepare`]; they do not become ready.
    pub async fn start(self) -> anyhow::Result<Cluster> {
        let cluster = self.prepare().await?;
        cluster.nodes.iter().try_for_each(|node| node.start())?;
        cluster.settled(crate::FORM_PATIENCE).await?;
        Ok(cluster)
    }
}
