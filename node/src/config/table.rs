//! The one table of settings: flags, variables, file keys, help and the documentation follow from it.

/// A setting of `rollcall serve`.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file. The flag is `--key-name`, the variable `ROLLCALL_KEY_NAME`.
    pub key: &'static str,
    /// What stands for the value in help.
    pub metavar: &'static str,
    /// Its value when nobody says otherwise.
    pub default: DefaultValue,
    /// What it does, in one line.
    pub help: &'static str,
    /// Why the default is what it is.
    pub reason: &'static str,
}

/// A setting's value when nobody says otherwise.
#[derive(Debug, Clone, Copy)]
pub enum DefaultValue {
    /// Always the same.
    Text(&'static str),
    /// The machine's host name.
    Hostname,
    /// The listener's address if it is bound to one IP, else the host name with its port.
    Advertised(&'static Setting),
}

impl Setting {
    /// `--key-name` without the dashes in front.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// `ROLLCALL_KEY_NAME`.
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.key.to_uppercase())
    }

    /// The default, as help and documentation show it.
    pub fn default_shown(&self) -> String {
        match self.default {
            DefaultValue::Text("") => "empty".into(),
            DefaultValue::Text(text) => text.into(),
            DefaultValue::Hostname => "the host name".into(),
            DefaultValue::Advertised(listener) => {
                format!("{} if that is one IP, else the host name with its port", listener.key)
            }
        }
    }
}

/// What the variables of all settings begin with.
pub const VARIABLE_PREFIX: &str = "ROLLCALL_";

/// The variable that names the configuration file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "ROLLCALL_CONFIG";

/// The variable that names the nodes that the commands ask, as `--addr` does.
pub const ADDR_VARIABLE: &str = "ROLLCALL_ADDR";

/// The variables of the commands that ask nodes, and are no settings.
pub const COMMAND_VARIABLES: [&str; 5] =
    [ADDR_VARIABLE, "ROLLCALL_CA", "ROLLCALL_CERT", "ROLLCALL_KEY", "ROLLCALL_TOKEN_FILE"];

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident = $key:literal, $metavar:literal, $default:expr, $help:literal, $reason:literal;)*) => {
        $($(#[$doc])* pub static $name: Setting =
            Setting { key: $key, metavar: $metavar, default: $default, help: $help, reason: $reason };)*

        /// All settings, in the order of the documentation.
        pub static ALL: &[&Setting] = &[$(&$name),*];
    };
}

use DefaultValue::{Advertised, Hostname, Text};

settings! {
    /// The node's stable name.
    NAME = "name", "NAME", Hostname,
        "The node's stable name, unique in the cluster",
        "a StatefulSet's pods and most machines have stable host names";
    /// The data folder.
    DATA_DIR = "data_dir", "PATH", Text("/var/lib/rollcall"),
        "Folder of the node's identity, log and snapshots; one node at a time",
        "where packages and containers keep a service's state";
    /// The peers of the cluster.
    JOIN = "join", "HOST:PORT,...", Text(""),
        "Peer addresses of the cluster's nodes, the same list on each of them",
        "a node that is a member already needs none";
    /// How many founders a new cluster has.
    BOOTSTRAP_EXPECT = "bootstrap_expect", "COUNT", Text("0"),
        "Found a new cluster once this many nodes of `join` see each other empty; 1 founds alone, 0 only joins",
        "founding a second cluster by accident is worse than waiting for the first";
    /// How many nodes vote.
    VOTERS = "voters", "COUNT", Text("3"),
        "How many nodes vote, 3 or 5; further ones are learners with the full replica. The same on all nodes",
        "with 3 any one may be lost; with 5 any two, and each change waits for three disks";
    /// When a learner counts as gone.
    LEARNER_TTL = "learner_ttl", "DURATION", Text("10m"),
        "After how long a node without a vote that is down is removed from the cluster; it joins anew when it comes back. 0s: never. \
         The same on all nodes",
        "longer than a restart, and an autoscaler leaves nothing behind";
    /// Who leaves for good when it stops.
    LEAVE_ON_STOP = "leave_on_stop", "never|learners", Text("never"),
        "Who leaves the cluster for good when it stops; `learners`: a node without a vote, which then joins as a new one with a copy of \
         everything when it starts again",
        "a restart should not cost a copy; whoever scales learners up and down wants none to be waited for";
    /// The newest feature level.
    MAX_FEATURE_LEVEL = "max_feature_level", "LEVEL", Text("newest"),
        "The newest feature level that this node takes part in, a number or `newest`; the cluster's rises once all members allow it, \
         and never falls. Hold it back on one node while the former version may still have to come back",
        "what a version brings is used once every node runs it";
    /// Who may attach at first.
    REGISTRATION = "registration", "open|known", Text("open"),
        "Which devices may attach to a cluster that this node founds: any, or those that have a record. Read at the founding; \
         later `rollcall devices policy --registration` changes it",
        "a first device attaches without further ado";
    /// What a node does that is alone.
    ISOLATION = "isolation", "fence|serve_local|serve_all", Text("serve_local"),
        "Whom a node serves that has lost touch with its cluster: nobody; callers of its own, of devices that it has just heard; \
         or callers of other nodes as well. It takes no new device then, whatever this says. The same on all nodes",
        "a device that still speaks to its node is there, and callers beside it need it";
    /// The API listener.
    API_ADDR = "api_addr", "IP:PORT", Text("0.0.0.0:7400"),
        "Listener for services: gRPC API, health, reflection",
        "reachable from other pods and machines";
    /// The device listener.
    DEVICE_ADDR = "device_addr", "IP:PORT", Text("0.0.0.0:7401"),
        "Listener for devices",
        "reachable from where devices come in";
    /// The peer listener.
    PEER_ADDR = "peer_addr", "IP:PORT", Text("0.0.0.0:7402"),
        "Listener for the cluster's other nodes",
        "reachable from the other nodes; never expose it further";
    /// The HTTP listener.
    HTTP_ADDR = "http_addr", "IP:PORT", Text("0.0.0.0:7403"),
        "Listener for /livez, /readyz and /metrics",
        "reachable by the kubelet and by Prometheus";
    /// Where services reach the API.
    ADVERTISE_API_ADDR = "advertise_api_addr", "HOST:PORT", Advertised(&API_ADDR),
        "Where services reach the API listener, as told to others; resolved at each dial",
        "right on one machine and where host names resolve";
    /// Where devices reach the device listener.
    ADVERTISE_DEVICE_ADDR = "advertise_device_addr", "HOST:PORT", Text(""),
        "Where devices reach the device listener from outside; empty: devices keep to their own list",
        "a pod's name means nothing to a phone";
    /// Where peers reach the peer listener.
    ADVERTISE_PEER_ADDR = "advertise_peer_addr", "HOST:PORT", Advertised(&PEER_ADDR),
        "Where the other nodes reach the peer listener; resolved at each dial",
        "right on one machine and where host names resolve";
    /// Where the HTTP listener is reached.
    ADVERTISE_HTTP_ADDR = "advertise_http_addr", "HOST:PORT", Advertised(&HTTP_ADDR),
        "Where health and metrics are reached, as told to others",
        "right on one machine and where host names resolve";
    /// The certificate of the API, device and HTTP listeners.
    TLS_CERT = "tls_cert", "PATH", Text(""),
        "PEM file with the certificate of the API, device and HTTP listeners, and those between it and its authority; \
         read again when it changes",
        "nobody else can make it for you";
    /// Its key.
    TLS_KEY = "tls_key", "PATH", Text(""),
        "PEM file with the private key of `tls_cert`",
        "as `tls_cert`";
    /// Whose certificates services and devices may show.
    CLIENT_CA = "client_ca", "PATH", Text(""),
        "PEM file with the authorities whose certificates services and devices may show; empty: they are not asked for one",
        "tokens do without";
    /// The certificate for the other nodes.
    PEER_CERT = "peer_cert", "PATH", Text(""),
        "PEM file with this node's certificate for the other nodes: for servers and clients, with the host of \
         `advertise_peer_addr` among its names",
        "nobody else can make it for you";
    /// Its key.
    PEER_KEY = "peer_key", "PATH", Text(""),
        "PEM file with the private key of `peer_cert`",
        "as `peer_cert`";
    /// The cluster's own authority.
    PEER_CA = "peer_ca", "PATH", Text(""),
        "PEM file with the authority that makes the certificates of this cluster's nodes, and of nobody else",
        "as `peer_cert`";
    /// Who may do what.
    ACCESS = "access", "PATH|open", Text(""),
        "TOML file that says who may do what; whatever it does not allow is denied. Read again when it changes. \
         `open`: anybody may do anything",
        "only you know; a node that is not told does not start, unless `insecure` lets anybody in";
    /// Whether anything may be plain.
    INSECURE = "insecure", "true|false", Text("false"),
        "Whether listeners without certificates may speak plain text, and whether anybody may come in; for trials only",
        "nothing is open by accident";
    /// The deadline of calls that name none.
    DEFAULT_TIMEOUT = "default_timeout", "DURATION", Text("30s"),
        "Deadline of a call that names none",
        "devices may take 20 s; a call without an end would hold its memory for ever";
    /// The longest deadline.
    MAX_TIMEOUT = "max_timeout", "DURATION", Text("5m"),
        "The longest deadline of a call; longer ones are cut to it",
        "bounds how long a forgotten call holds its memory";
    /// The largest payload.
    MAX_PAYLOAD = "max_payload", "SIZE", Text("16MiB"),
        "The largest payload of a call or reply, the same on all nodes",
        "thirty times the half megabyte that devices usually return";
    /// How long a caller's connection lasts.
    MAX_CONNECTION_AGE = "max_connection_age", "DURATION", Text("30m"),
        "How long a connection of a service lasts, by a tenth more or less; then it is asked to open another, and what is open ends in \
         peace. 0s: for ever",
        "callers spread over nodes that joined or came back within half an hour, and hardly notice";
    /// The devices' heartbeat.
    HEARTBEAT_INTERVAL = "heartbeat_interval", "DURATION", Text("5s"),
        "How often a device is asked whether it is there; silent for two of them, it is gone",
        "finds a dead device in 10 s at a few bytes a second each";
    /// How long a lost device may come back to its calls.
    RESUME_WINDOW = "resume_window", "DURATION", Text("auto"),
        "How long calls in flight wait for a device that was lost without goodbye, and its session for it; auto: two heartbeats and 2.2s, at least 10s. The same on all nodes",
        "a device notices its loss after two heartbeats at the latest, and then needs a moment to come back";
    /// How many devices may attach.
    CONNECT_RATE = "connect_rate", "PER_SECOND", Text("500"),
        "How many device connections this node lets in per second, and how many devices may attach; the next ones wait their turn for up to 3 s, others are turned away or told when to come again",
        "10,000 devices of a lost node are back on two others within the resume window, and calls hardly notice; at twice the rate, on two cores that all share, their p99 was five times as long";
    /// Connections of one address.
    ADDRESS_CONNECTIONS = "address_connections", "COUNT", Text("20000"),
        "Connections that one address (IPv4, or IPv6 network /64) may have at once on the API and device listeners together; more are closed at once. 0: any number",
        "twenty sites of 1,000 devices behind one translator are honest; above that, or behind a proxy that hides addresses, say more";
    /// How fast they may come.
    ADDRESS_RATE = "address_rate", "PER_SECOND", Text("2000"),
        "Connections per second that one address may open, ten seconds' worth of them at once; more are closed at once. 0: any number",
        "all devices of a site come back together after an outage, and what `connect_rate` does not let in at once waits or comes again";
    /// How many handshakes one address may have.
    ADDRESS_HANDSHAKES = "address_handshakes", "COUNT", Text("4000"),
        "TLS handshakes that one address may have at once on the API and device listeners together; more are closed at once. 0: any number",
        "two seconds' worth of `address_rate`, and a fifth of what a listener bears at all before the oldest make room for the newest";
    /// Proxies before the device listener.
    DEVICE_TRUSTED_PROXIES = "device_trusted_proxies", "NETWORK,...", Text(""),
        "Networks (CIDR, by commas) of the proxies before the device listener: each of their connections must say whose it is by PROXY protocol v2, and the address that it says counts in limits and logs; nobody else may say so. Empty: there are none",
        "an address that anybody may claim is worth nothing";
    /// Proxies before the API listener.
    API_TRUSTED_PROXIES = "api_trusted_proxies", "NETWORK,...", Text(""),
        "As `device_trusted_proxies`, before the API listener",
        "services usually come in directly";
    /// Whether surplus devices move by themselves.
    REBALANCE = "rebalance", "off|auto", Text("off"),
        "Whether this node asks devices that it has more than its share to move once nodes have joined or come back; off: only when \
         `rollcall rebalance` says so",
        "a move costs each device a connection, and whoever runs the cluster knows when that is cheap";
    /// How fast they move.
    REBALANCE_RATE = "rebalance_rate", "PER_SECOND", Text("100"),
        "How many devices move per second from this node with `rebalance = auto`, at most `connect_rate`",
        "10,000 devices in less than two minutes, and hardly to be noticed by those who take them";
    /// How fast one caller may call.
    CALLER_RATE = "caller_rate", "PER_SECOND", Text("0"),
        "Calls per second that this node takes of one caller, a second's worth of them at once; more are RATE_LIMITED. A broadcast is \
         one call. 0: any number",
        "what calls cost is bounded by the devices' capacities; say so where teams share a cluster. With access open all are one caller";
    /// How many calls one caller may have.
    CALLER_IN_FLIGHT = "caller_in_flight", "COUNT", Text("0"),
        "Calls that one caller may have in flight on this node; more are RATE_LIMITED. A broadcast is one call. 0: any number",
        "one connection's streams are bounded, and how many connections a caller needs its owner knows";
    /// How fast one group may be called.
    GROUP_RATE = "group_rate", "PER_SECOND", Text("0"),
        "Calls per second that this node takes for one group, likewise; a call that names a device and no group counts for none. 0: any \
         number",
        "only you know what a group is worth";
    /// The grace of a stop.
    DRAIN_GRACE = "drain_grace", "DURATION", Text("30s"),
        "How long calls in flight may still take when the node stops",
        "the default deadline, and Kubernetes' default grace";
    /// How many calls are logged.
    ACCESS_LOG_RATE = "access_log_rate", "PER_SECOND", Text("10"),
        "How many failed and slow calls are logged per second; each line says how many were not. 0: none",
        "enough to see what fails, too little to fill a disk";
    /// Which calls are slow.
    SLOW_CALL = "slow_call", "DURATION", Text("30s"),
        "Calls that take this long are logged although they did not fail",
        "as long as a call may take that names no deadline";
    /// Where traces go.
    OTLP_ENDPOINT = "otlp_endpoint", "URL", Text(""),
        "Where traces of calls are exported to: a collector's OTLP over gRPC, http:// or https://; empty: nowhere",
        "few have a collector, and a trace costs more than a call";
    /// Which calls are traced.
    TRACE_SAMPLE = "trace_sample", "SHARE", Text("0.01"),
        "With `otlp_endpoint`: the share of calls that are traced though their callers say nothing of traces, 0 to 1. A caller's own \
         `traceparent` decides for its call",
        "enough to see where time goes, and no burden";
    /// What is logged.
    LOG_LEVEL = "log_level", "FILTER", Text("info"),
        "What is logged: error, warn, info, debug, trace, or a filter such as info,rollcall_router=debug",
        "one line for each change of the node's state, none for each call";
    /// How it is logged.
    LOG_FORMAT = "log_format", "text|json", Text("text"),
        "How log lines are written to stderr",
        "read by people first; collectors want json";
}

/// The setting of this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    ALL.iter().copied().find(|setting| setting.key == key)
}
