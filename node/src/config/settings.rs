//! The settings of a node, judged: a value of this type cannot be wrong.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use rollcall_registry::model::{feature_level::FeatureLevel, policy::RegistrationMode};
use rollcall_router::{Isolation, RouterConfig};

use super::{
    BadValue, ConfigError, Effective, HostPort, Layers, LogSettings, SecuritySettings, Written, table, value,
};
use crate::{
    limits,
    telemetry::{AccessLog, traces::TraceSettings},
};

/// The settings of `rollcall serve`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's stable name.
    pub name: String,
    /// The data folder.
    pub data_dir: PathBuf,
    /// Peer addresses of the cluster, without duplicates; empty: a member, or a founder on its own.
    pub join: Vec<HostPort>,
    /// How many founders a new cluster has; 0: this node only joins.
    pub bootstrap_expect: usize,
    /// Which devices may attach to a cluster that this node founds.
    pub registration: RegistrationMode,
    /// Whom the node serves when it has lost touch with its cluster.
    pub isolation: Isolation,
    /// How many nodes shall vote.
    pub voters: usize,
    /// Who leaves the cluster for good when it stops.
    pub leave_on_stop: LeaveOnStop,
    /// After how long a learner that is down is removed; zero: never.
    pub learner_ttl: Duration,
    /// The newest feature level that this node takes part in.
    pub max_feature_level: FeatureLevel,
    /// What the listeners are bound to.
    pub listen: Listeners,
    /// What others are told.
    pub advertise: Addresses,
    /// Certificates, and what may be without.
    pub security: SecuritySettings,
    /// The bounds of calls.
    pub calls: CallLimits,
    /// How many calls.
    pub rates: RateLimits,
    /// How long a caller's connection lasts, by a tenth more or less; `None`: as long as the caller likes.
    pub max_connection_age: Option<Duration>,
    /// How often a device is asked whether it is there.
    pub heartbeat_interval: Duration,
    /// How long calls in flight wait for a device that was lost.
    pub resume_window: Duration,
    /// How many devices may attach per second.
    pub connect_rate: u32,
    /// Whether surplus devices are asked to move without an operator, and how many a second.
    pub rebalance: Option<u32>,
    /// How long calls in flight may take when the node stops.
    pub drain_grace: Duration,
    /// Which calls are logged.
    pub access_log: AccessLog,
    /// Which calls are traced, and where to; `None`: none.
    pub traces: Option<TraceSettings>,
    /// What is logged, and how.
    pub log: LogSettings,
}

/// What the listeners are bound to. Port 0 lets the system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listeners {
    /// For services.
    pub api: SocketAddr,
    /// For devices.
    pub device: SocketAddr,
    /// For peers.
    pub peer: SocketAddr,
    /// For health and metrics.
    pub http: SocketAddr,
}

/// What others are told. Port 0 stands for the port that the listener will have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For services.
    pub api: HostPort,
    /// For devices; `None`: they keep to their own list.
    pub device: Option<HostPort>,
    /// For peers.
    pub peer: HostPort,
    /// For health and metrics.
    pub http: HostPort,
}

/// The bounds of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    /// The deadline of calls that name none; at most `max_timeout`.
    pub default_timeout: Duration,
    /// The longest deadline.
    pub max_timeout: Duration,
    /// The largest payload of a call or reply.
    pub max_payload_bytes: usize,
}

/// How many calls this node takes. 0: any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimits {
    /// In a second, of one caller.
    pub caller_per_second: u32,
    /// At once, of one caller.
    pub caller_in_flight: u32,
    /// In a second, for one group.
    pub group_per_second: u32,
}

/// Who leaves the cluster for good when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaveOnStop {
    /// Nobody: a node that stops is expected back.
    Never,
    /// A node without a vote.
    Learners,
}

impl Settings {
    /// Judges the layers.
    ///
    /// # Errors
    /// The first value that its setting does not take, or pair of values that do not go together.
    pub fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        let heartbeat_interval = layers.parsed(&table::HEARTBEAT_INTERVAL, heartbeat)?;
        let settings = Self {
            name: layers.parsed(&table::NAME, value::node_name)?,
            data_dir: layers.parsed(&table::DATA_DIR, value::path)?,
            join: layers.parsed(&table::JOIN, value::host_ports)?,
            bootstrap_expect: layers.parsed(&table::BOOTSTRAP_EXPECT, value::count)?,
            registration: layers.parsed(&table::REGISTRATION, registration)?,
            isolation: layers.parsed(&table::ISOLATION, isolation)?,
            voters: layers.parsed(&table::VOTERS, voters)?,
            leave_on_stop: layers.parsed(&table::LEAVE_ON_STOP, leave_on_stop)?,
            learner_ttl: layers.parsed(&table::LEARNER_TTL, learner_ttl)?,
            max_feature_level: layers.parsed(&table::MAX_FEATURE_LEVEL, max_feature_level)?,
            listen: Listeners::from_layers(layers)?,
            advertise: Addresses::from_layers(layers)?,
            security: SecuritySettings::from_layers(layers)?,
            calls: CallLimits::from_layers(layers)?,
            rates: RateLimits {
                caller_per_second: layers.parsed(&table::CALLER_RATE, value::up_to_a_million)?,
                caller_in_flight: layers.parsed(&table::CALLER_IN_FLIGHT, value::up_to_a_million)?,
                group_per_second: layers.parsed(&table::GROUP_RATE, value::up_to_a_million)?,
            },
            max_connection_age: layers.parsed(&table::MAX_CONNECTION_AGE, max_connection_age)?,
            heartbeat_interval,
            resume_window: layers
                .parsed(&table::RESUME_WINDOW, |text| resume_window(text, heartbeat_interval))?,
            connect_rate: layers.parsed(&table::CONNECT_RATE, connect_rate)?,
            rebalance: rebalance(layers)?,
            drain_grace: layers.parsed(&table::DRAIN_GRACE, drain_grace)?,
            access_log: AccessLog {
                lines_per_second: layers.parsed(&table::ACCESS_LOG_RATE, access_log_rate)?,
                slow: layers.parsed(&table::SLOW_CALL, call_timeout)?,
            },
            traces: traces(layers)?,
            log: LogSettings::from_layers(layers)?,
        };
        settings.agree(layers)?;
        Ok(settings)
    }

    /// Rules between settings.
    fn agree(&self, layers: &Layers) -> Result<(), ConfigError> {
        if self.calls.default_timeout > self.calls.max_timeout {
            return Err(conflict(
                layers,
                &table::DEFAULT_TIMEOUT,
                &table::MAX_TIMEOUT,
                "the default must not be longer than the maximum",
            ));
        }
        if self.resume_window < RouterConfig::least_resume_window(self.heartbeat_interval) {
            return Err(conflict(
                layers,
                &table::RESUME_WINDOW,
                &table::HEARTBEAT_INTERVAL,
                "the window must be at least two heartbeats and 2.2s, or no device comes back in time",
            ));
        }
        if self.bootstrap_expect > 1 && self.bootstrap_expect != self.join.len() {
            return Err(conflict(
                layers,
                &table::BOOTSTRAP_EXPECT,
                &table::JOIN,
                "`join` lists exactly the founders, this node included; who joins later has 0",
            ));
        }
        let listen = [
            (&table::API_ADDR, self.listen.api),
            (&table::DEVICE_ADDR, self.listen.device),
            (&table::PEER_ADDR, self.listen.peer),
            (&table::HTTP_ADDR, self.listen.http),
        ];
        for (at, (left, bound)) in listen.iter().enumerate() {
            let same = listen[..at].iter().find(|(_, other)| other == bound && bound.port() != 0);
            if let Some((right, _)) = same {
                return Err(conflict(layers, left, right, "each listener needs an address of its own"));
            }
        }
        Ok(())
    }
}

impl Listeners {
    fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            api: layers.parsed(&table::API_ADDR, value::socket)?,
            device: layers.parsed(&table::DEVICE_ADDR, value::socket)?,
            peer: layers.parsed(&table::PEER_ADDR, value::socket)?,
            http: layers.parsed(&table::HTTP_ADDR, value::socket)?,
        })
    }
}

impl Addresses {
    fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            api: layers.parsed(&table::ADVERTISE_API_ADDR, HostPort::parse)?,
            device: layers.parsed(&table::ADVERTISE_DEVICE_ADDR, value::optional_host_port)?,
            peer: layers.parsed(&table::ADVERTISE_PEER_ADDR, HostPort::parse)?,
            http: layers.parsed(&table::ADVERTISE_HTTP_ADDR, HostPort::parse)?,
        })
    }
}

impl CallLimits {
    fn from_layers(layers: &Layers) -> Result<Self, ConfigError> {
        Ok(Self {
            default_timeout: layers.parsed(&table::DEFAULT_TIMEOUT, call_timeout)?,
            max_timeout: layers.parsed(&table::MAX_TIMEOUT, call_timeout)?,
            max_payload_bytes: layers.parsed(&table::MAX_PAYLOAD, |text| {
                value::size_bytes(
                    text,
                    limits::PAYLOAD_BYTES_LEAST,
                    limits::PAYLOAD_BYTES_MOST,
                    "1KiB to 256MiB",
                )
            })?,
        })
    }
}

fn registration(text: &str) -> Result<RegistrationMode, BadValue> {
    match text {
        "open" => Ok(RegistrationMode::Open),
        "known" => Ok(RegistrationMode::Known),
        _ => Err(BadValue::new("no such mode", "open, known")),
    }
}

fn isolation(text: &str) -> Result<Isolation, BadValue> {
    match text {
        "fence" => Ok(Isolation::Fence),
        "serve_local" => Ok(Isolation::ServeLocal),
        "serve_all" => Ok(Isolation::ServeAll),
        _ => Err(BadValue::new("no such mode", "fence, serve_local, serve_all")),
    }
}

fn voters(text: &str) -> Result<usize, BadValue> {
    const ALLOWED: &str = "3 or 5";
    let count = text.parse().map_err(|_| BadValue::new("not a whole number", ALLOWED))?;
    let wanted = rollcall_registry::limits::VOTERS.contains(&count);
    if wanted {
        Ok(count)
    } else {
        Err(BadValue::new("not a number of voters that a cluster should have", ALLOWED))
    }
}

fn leave_on_stop(text: &str) -> Result<LeaveOnStop, BadValue> {
    match text {
        "never" => Ok(LeaveOnStop::Never),
        "learners" => Ok(LeaveOnStop::Learners),
        _ => Err(BadValue::new("nobody who could leave", "never, learners")),
    }
}

fn learner_ttl(text: &str) -> Result<Duration, BadValue> {
    value::duration(text, Duration::ZERO, Duration::from_secs(30 * 86_400), "0s to 30 days")
}

fn max_feature_level(text: &str) -> Result<FeatureLevel, BadValue> {
    const ALLOWED: &str = "newest, 0, 1, 2";
    const { assert!(FeatureLevel::NEWEST.0 == 2, "what is allowed is a text") };
    if text == "newest" {
        return Ok(FeatureLevel::NEWEST);
    }
    let level = text.parse().map(FeatureLevel).map_err(|_| BadValue::new("not a level", ALLOWED))?;
    if level <= FeatureLevel::NEWEST {
        Ok(level)
    } else {
        Err(BadValue::new("this version does not know such a level", ALLOWED))
    }
}

fn call_timeout(text: &str) -> Result<Duration, BadValue> {
    value::duration(text, Duration::from_millis(1), Duration::from_secs(86_400), "1ms to 24h")
}

fn max_connection_age(text: &str) -> Result<Option<Duration>, BadValue> {
    const ALLOWED: &str = "0s, or 1s to 30 days";
    let age = value::duration(text, Duration::ZERO, Duration::from_secs(30 * 86_400), ALLOWED)?;
    match age {
        Duration::ZERO => Ok(None),
        age if age < Duration::from_secs(1) => Err(BadValue::new("out of bounds", ALLOWED)),
        age => Ok(Some(age)),
    }
}

fn heartbeat(text: &str) -> Result<Duration, BadValue> {
    value::duration(text, Duration::from_millis(100), Duration::from_secs(300), "100ms to 5m")
}

fn resume_window(text: &str, heartbeat_interval: Duration) -> Result<Duration, BadValue> {
    if text == "auto" {
        return Ok(RouterConfig::default_resume_window(heartbeat_interval));
    }
    value::duration(text, Duration::from_secs(1), Duration::from_secs(3_600), "auto, or 1s to 1h")
}

/// At which rate surplus devices move by themselves. `None`: they do not.
fn rebalance(layers: &Layers) -> Result<Option<u32>, ConfigError> {
    let rate = layers.parsed(&table::REBALANCE_RATE, connect_rate)?;
    let auto = layers.parsed(&table::REBALANCE, |text| match text {
        "off" => Ok(false),
        "auto" => Ok(true),
        _ => Err(BadValue::new("no such mode", "off, auto")),
    })?;
    Ok(auto.then_some(rate))
}

fn connect_rate(text: &str) -> Result<u32, BadValue> {
    const ALLOWED: &str = "1 to 1000000";
    let rate = text.parse().map_err(|_| BadValue::new("not a whole number", ALLOWED))?;
    if (1..=1_000_000).contains(&rate) { Ok(rate) } else { Err(BadValue::new("out of range", ALLOWED)) }
}

fn access_log_rate(text: &str) -> Result<u32, BadValue> {
    const ALLOWED: &str = "0 to 100000";
    let rate = text.parse().map_err(|_| BadValue::new("not a whole number", ALLOWED))?;
    if rate <= 100_000 { Ok(rate) } else { Err(BadValue::new("out of range", ALLOWED)) }
}

fn traces(layers: &Layers) -> Result<Option<TraceSettings>, ConfigError> {
    let sample = layers.parsed(&table::TRACE_SAMPLE, |text| {
        let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| BadValue::new("no share", "0 to 1, such as 0.01"))
    })?;
    let endpoint = layers.parsed(&table::OTLP_ENDPOINT, |text| match text {
        "" => Ok(None),
        _ if text.starts_with("http://") || text.starts_with("https://") => Ok(Some(text.to_owned())),
        _ => Err(BadValue::new("no URL", "http://HOST:PORT or https://HOST:PORT")),
    })?;
    Ok(endpoint.map(|endpoint| TraceSettings { endpoint, sample }))
}

fn drain_grace(text: &str) -> Result<Duration, BadValue> {
    value::duration(text, Duration::ZERO, Duration::from_secs(3_600), "0s to 1h")
}

pub(super) fn conflict(
    layers: &Layers,
    left: &'static table::Setting,
    right: &'static table::Setting,
    rule: &'static str,
) -> ConfigError {
    let written = |setting: &table::Setting| {
        let Effective { text, source } = layers.get(setting);
        Box::new(Written { key: setting.key, value: text, origin: source })
    };
    ConfigError::Conflict { left: written(left), right: written(right), rule }
}
