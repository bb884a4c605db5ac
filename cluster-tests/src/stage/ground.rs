//! What a row needs under its feet.

use crate::ClusterPlan;

/// Which cluster a row plays on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ground {
    /// Three nodes on 127.0.0.1.
    Loopback,
    /// Three nodes, each in a network namespace of its own. NOT RUN where that is not permitted.
    OwnNetwork,
    /// Three nodes on 127.0.0.1 whose devices may be silent for longer than a lease, as by default.
    PatientDevices,
    /// Three nodes on 127.0.0.1, one of them on a small file system of its own. NOT RUN where that cannot be mounted.
    SmallDisk,
}

impl Ground {
    /// Devices notice a silent node soon where they are not to be patient, and a node that cannot finish does not hold
    /// the row up.
    pub(super) fn plan(self) -> ClusterPlan {
        let heartbeat = if self == Self::PatientDevices { "5s" } else { "1s" };
        let plan = ClusterPlan::of(3).flag("heartbeat-interval", heartbeat).flag("drain-grace", "10s");
        match self {
            Self::Loopback | Self::PatientDevices | Self::SmallDisk => plan,
            Self::OwnNetwork => plan.own_network(),
        }
    }
}
