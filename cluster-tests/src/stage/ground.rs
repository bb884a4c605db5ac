//! What a row needs under its feet.

use crate::ClusterPlan;

/// Which cluster a row plays on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// Three nodes on 127.0.0.1.
    Loopback,
    /// Three nodes, each in a network namespace of its own. NOT RUN where that is not permitted.
    OwnNetwork,
    /// As [`Ground::Loopback`], with `isolation = fence`.
    Fenced,
    /// As [`Ground::OwnNetwork`], with `isolation = fence`.
    OwnNetworkFenced,
    /// Three nodes on 127.0.0.1 whose devices may be silent for longer than a lease, as by default.
    PatientDevices,
    /// Three nodes on 127.0.0.1 whose faults can be switched.
    Faults,
    /// As [`Ground::Faults`], one node on a small file system of its own. NOT RUN where that cannot be mounted.
    SmallDisk,
}

impl Ground {
    /// Whether its nodes have switches for faults: another build.
    pub fn has_faults(self) -> bool {
        matches!(self, Self::Faults | Self::SmallDisk)
    }

    /// Whether each node has a network namespace.
    pub(super) fn has_network(self) -> bool {
        matches!(self, Self::OwnNetwork | Self::OwnNetworkFenced)
    }

    /// Devices notice a silent node soon where they are not to be patient, and a node that cannot finish does not hold
    /// the row up.
    pub(super) fn plan(self) -> ClusterPlan {
        let heartbeat = if self == Self::PatientDevices { "5s" } else { "1s" };
        let plan = ClusterPlan::of(3).flag("heartbeat-interval", heartbeat).flag("drain-grace", "10s");
        match self {
            Self::Loopback | Self::PatientDevices => plan,
            Self::Faults | Self::SmallDisk => plan.with_faults(),
            Self::OwnNetwork => plan.own_network(),
            Self::Fenced => plan.flag("isolation", "fence"),
            Self::OwnNetworkFenced => plan.own_network().flag("isolation", "fence"),
        }
    }
}
