//! Rollcall's contracts, by audience and version, as generated code; with the feature `client`, calls for services.
//!
//! Decisions of the server do not live here.

#[cfg(feature = "client")]
pub mod client;
pub mod device_codec;

/// Generated from `rollcall.v1`, `rollcall.device.v1`, `rollcall.peer.v1` and `rollcall.storage.v1`.
pub mod rollcall {
    /// The API for services: `rollcall.v1`.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("rollcall.v1");
    }
    /// The protocol of devices.
    pub mod device {
        /// `rollcall.device.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("rollcall.device.v1");
        }
    }
    /// Between nodes; internal.
    pub mod peer {
        /// `rollcall.peer.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("rollcall.peer.v1");
        }
    }
    /// What is written to disk.
    pub mod storage {
        /// `rollcall.storage.v1`.
        #[allow(missing_docs, unreachable_pub, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("rollcall.storage.v1");
        }
    }
}

pub use rollcall::{device::v1 as device, peer::v1 as peer, storage::v1 as storage, v1 as api};

/// The descriptors of all packages, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rollcall.descriptors.bin"));
