//! How people write values: durations, sizes, addresses, lists. Each parser says what it allows.

use std::{fmt, net::SocketAddr, time::Duration};

use super::BadValue;

/// A host, by name or IP, and a port; resolved at each dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// Not 0, except before a listener on port 0 is bound.
    pub port: u16,
}

impl HostPort {
    const ALLOWED: &str = "host:port, IPv6 in brackets";

    /// Reads `host:port`.
    ///
    /// # Errors
    /// Says which part is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, BadValue> {
        let bad = |problem: &str| BadValue::new(format!("`{text}`: {problem}"), Self::ALLOWED);
        if text.contains(|letter: char| letter.is_whitespace() || letter == '/') {
            return Err(bad("a host is a name or an IP, not a URL"));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
        let port = port.parse().map_err(|_| bad("the port is not a number up to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = bare.unwrap_or(host);
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        if bare.is_none() && host.contains(':') {
            return Err(bad("an IPv6 address needs brackets"));
        }
        Ok(Self { host: host.to_owned(), port })
    }

    /// What to tell others about a listener: its address if that is one IP, else the host name with its port.
    ///
    /// An address that cannot be read gives the empty text; the listener's own setting then says what is wrong.
    pub(super) fn advertised(listener: &str, hostname: &str) -> String {
        let Ok(bound) = listener.parse::<SocketAddr>() else { return String::new() };
        if bound.ip().is_unspecified() {
            Self { host: hostname.to_owned(), port: bound.port() }.to_string()
        } else {
            bound.to_string()
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A listener's address. Port 0 lets the system choose.
pub(crate) fn socket(text: &str) -> Result<SocketAddr, BadValue> {
    text.parse()
        .map_err(|_| BadValue::new("not an IP and a port", "ip:port, such as 0.0.0.0:7400 or [::]:7400"))
}

/// `host:port`, or nothing.
pub(super) fn optional_host_port(text: &str) -> Result<Option<HostPort>, BadValue> {
    if text.is_empty() { Ok(None) } else { HostPort::parse(text).map(Some) }
}

/// `host:port` several times, by commas. Empty: none.
pub(super) fn host_ports(text: &str) -> Result<Vec<HostPort>, BadValue> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let all = items.map(HostPort::parse).collect::<Result<Vec<_>, _>>()?;
    for (at, one) in all.iter().enumerate() {
        if one.port == 0 {
            return Err(BadValue::new(format!("`{one}` has port 0"), HostPort::ALLOWED));
        }
        if all[..at].contains(one) {
            return Err(BadValue::new(format!("`{one}` is there twice"), "each address once"));
        }
    }
    Ok(all)
}

/// A number of nodes.
pub(super) fn count(text: &str) -> Result<usize, BadValue> {
    const ALLOWED: &str = "0 to 9";
    let count: usize = text.parse().map_err(|_| BadValue::new("not a whole number", ALLOWED))?;
    if count > 9 { Err(BadValue::new("more founders than a quorum should have", ALLOWED)) } else { Ok(count) }
}

/// A node's name.
pub(super) fn node_name(text: &str) -> Result<String, BadValue> {
    const ALLOWED: &str = "1 to 128 letters, digits, `-`, `_` and `.`";
    let fits = (1..=128).contains(&text.len());
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fits && plain { Ok(text.to_owned()) } else { Err(BadValue::new("not a node name", ALLOWED)) }
}

/// A path, not empty.
pub(super) fn path(text: &str) -> Result<std::path::PathBuf, BadValue> {
    if text.is_empty() { Err(BadValue::new("empty", "a folder")) } else { Ok(text.into()) }
}

/// A duration between bounds, such as `30s`.
pub(super) fn duration(
    text: &str,
    least: Duration,
    most: Duration,
    allowed: &'static str,
) -> Result<Duration, BadValue> {
    let duration = humantime::parse_duration(text)
        .map_err(|error| BadValue::new(format!("not a duration: {error}"), allowed))?;
    if duration < least || duration > most {
        return Err(BadValue::new("out of bounds", allowed));
    }
    Ok(duration)
}

/// A size between bounds, such as `16MiB`, in bytes.
pub(super) fn size_bytes(
    text: &str,
    least: usize,
    most: usize,
    allowed: &'static str,
) -> Result<usize, BadValue> {
    let size: bytesize::ByteSize = text.parse().map_err(|_| BadValue::new("not a size", allowed))?;
    usize::try_from(size.as_u64())
        .ok()
        .filter(|size| (least..=most).contains(size))
        .ok_or_else(|| BadValue::new("out of bounds", allowed))
}

/// A count of at most a million.
pub(super) fn up_to_a_million(text: &str) -> Result<u32, BadValue> {
    const ALLOWED: &str = "0 to 1000000";
    let count = text.parse().map_err(|_| BadValue::new("not a whole number", ALLOWED))?;
    if count <= 1_000_000 { Ok(count) } else { Err(BadValue::new("out of range", ALLOWED)) }
}
