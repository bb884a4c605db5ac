//! The gRPC services. They judge requests, ask the router or the registry, and put answers into words.
//!
//! No decision about a call is made here.

mod access_rules;
mod administration;
mod arrival;
mod broadcast;
mod calls;
mod cluster_service;
mod device_service;
mod drain_node;
mod examine_node;
mod group_policies;
mod health_service;
mod invoke_service;
mod invoke_stream;
mod page;
mod patience;
mod rates;
mod read;
mod rebalance_node;
pub mod reflection;
mod registry_service;
mod retirement;
mod route_explanation;
mod save_snapshot;
pub mod status;
pub mod validate;
mod view;
mod watch;

pub use arrival::{Arrival, ArrivalLayer};
pub use calls::{Calls, EachByItself};
pub use cluster_service::ClusterApi;
pub use device_service::DeviceApi;
pub use health_service::HealthApi;
pub use invoke_service::{InvokeApi, Invoker, Routed};
pub use patience::PatienceLayer;
pub use registry_service::RegistryApi;
