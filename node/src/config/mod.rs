//! Settings: where they come from, which ones there are, and the type that cannot be wrong.
//!
//! Nothing here opens a socket or a data folder; it only reads the configuration file that it is told to read.

mod error;
mod flags;
mod layers;
mod log;
mod security;
mod settings;
pub mod table;
pub(crate) mod value;

pub use error::{BadValue, ConfigError, Written};
pub use flags::SettingFlags;
pub use layers::{Effective, Environment, Layers, Source};
pub use log::{LogFormat, LogSettings};
pub use security::{PeerFiles, Permissions, Proxies, SecuritySettings, Strangers};
pub use settings::{Addresses, CallLimits, LeaveOnStop, Listeners, RateLimits, Settings};
pub use value::HostPort;
