//! What a row needs under its feet.

use rollcall_registry::model::feature_level::FeatureLevel;

use crate::ClusterPlan;

/// The newest feature level of the version before: one below the newest of this one.
pub(crate) const LEVEL_BEFORE: u32 = FeatureLevel::NEWEST.0 - 1;
/// It as a flag has it.
const LEVEL_BEFORE_FLAG: &str = "1";
const _: () = assert!(LEVEL_BEFORE == 1, "the flag says another level");

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
    /// Three nodes on 127.0.0.1 that take part in no newer feature level than the version before did.
    VersionBefore,
    /// Three nodes on 127.0.0.1 that admit 100 devices a second each: what two cores carry beside everything else, devices and
    /// callers among it.
    Admitting,
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

    /// What its nodes are started with beside the cluster's plan, so that a row can start one without.
    pub(crate) fn flags_at_start(self) -> &'static [&'static str] {
        match self {
            Self::VersionBefore => &["--max-feature-level", LEVEL_BEFORE_FLAG],
            _ => &[],
        }
    }

    /// Devices notice a silent node soon where they are not to be patient, and a node that cannot finish does not hold
    /// the row up.
    pub(super) fn plan(self) -> ClusterPlan {
        let heartbeat = if self == Self::PatientDevices { "5s" } else { "1s" };
        let plan = ClusterPlan::of(3).flag("heartbeat-interval", heartbeat).flag("drain-grace", "10s");
        match self {
            Self::Loopback | Self::PatientDevices | Self::VersionBefore => plan,
            Self::Admitting => plan.flag("connect-rate", "100"),
            Self::Faults | Self::SmallDisk => plan.with_faults(),
            Self::OwnNetwork => plan.own_network(),
            Self::Fenced => plan.flag("isolation", "fence"),
            Self::OwnNetworkFenced => plan.own_network().flag("isolation", "fence"),
        }
    }
}
