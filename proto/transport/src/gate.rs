//! Who may open connections: so many at once from one address, so many a second, and so many handshakes. A pure table behind a lock that is
//! held for one look-up.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;

use crate::limits::{ADDRESSES_LEAST_SWEPT, CONNECT_BURST};

/// What one address may do. 0: whatever it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddressLimits {
    /// Connections at once.
    pub connections: u32,
    /// Connections a second, on average; a burst may be as many as in ten seconds.
    pub per_second: u32,
    /// Handshakes at once.
    pub handshakes: u32,
}

/// Counts the connections of addresses. Cheap to clone; several listeners may share one.
#[derive(Debug, Clone)]
pub struct Gate {
    limits: AddressLimits,
    table: Arc<Mutex<Table>>,
}

/// A connection that was let in; counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Gate,
    address: IpAddr,
}

/// A handshake of such a connection; counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Shaking {
    gate: Gate,
    address: IpAddr,
}

/// Why a connection was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// The address has as many as it may.
    TooMany,
    /// They come too fast.
    TooFast,
    /// Too many of them are not beyond their handshake.
    Unfinished,
}

impl Turned {
    /// A word for the metric.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::TooMany => "too many",
            Self::TooFast => "too fast",
            Self::Unfinished => "too many handshakes",
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<IpAddr, Entry>,
    /// How many were left by the last sweep: the next one is due at twice as many.
    left: usize,
}

#[derive(Debug)]
struct Entry {
    connections: u32,
    handshakes: u32,
    /// What it may still open at once.
    tokens: f64,
    counted: Instant,
}

impl Gate {
    /// An empty one.
    pub fn new(limits: AddressLimits) -> Self {
        Self { limits, table: Arc::default() }
    }

    /// Lets a connection in, or not.
    pub(crate) fn enter(&self, address: IpAddr) -> Result<Pass, Turned> {
        let address = network(address);
        self.table.lock().enter(address, self.limits, Instant::now())?;
        Ok(Pass { gate: self.clone(), address })
    }
}

impl Pass {
    /// The connection begins its handshake, or may not.
    pub(crate) fn shake(&self) -> Result<Shaking, Turned> {
        self.gate.table.lock().shake(self.address, self.gate.limits)?;
        Ok(Shaking { gate: self.gate.clone(), address: self.address })
    }
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.gate.table.lock().shaken(self.address);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.table.lock().leave(self.address);
    }
}

/// Whoever has an IPv6 address has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
        address => address,
    }
}

impl Table {
    fn enter(&mut self, address: IpAddr, limits: AddressLimits, now: Instant) -> Result<(), Turned> {
        self.sweep(limits, now);
        let burst = burst(limits);
        let entry = self.addresses.entry(address).or_insert(Entry {
            connections: 0,
            handshakes: 0,
            tokens: burst,
            counted: now,
        });
        entry.earn(limits, now);
        if limits.connections > 0 && entry.connections >= limits.connections {
            return Err(Turned::TooMany);
        }
        if limits.per_second > 0 {
            if entry.tokens < 1.0 {
                return Err(Turned::TooFast);
            }
            entry.tokens -= 1.0;
        }
        entry.connections += 1;
        Ok(())
    }

    fn shake(&mut self, address: IpAddr, limits: AddressLimits) -> Result<(), Turned> {
        let Some(entry) = self.addresses.get_mut(&address) else { return Ok(()) };
        if limits.handshakes > 0 && entry.handshakes >= limits.handshakes {
            return Err(Turned::Unfinished);
        }
        entry.handshakes += 1;
        Ok(())
    }

    fn shaken(&mut self, address: IpAddr) {
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.handshakes = entry.handshakes.saturating_sub(1);
        }
    }

    fn leave(&mut self, address: IpAddr) {
        if let Some(entry) = self.addresses.get_mut(&address) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }

    /// Forgets who has no connection and no debt, whenever the table has doubled: it is never longer than twice the open
    /// connections and the addresses that came within a burst's time.
    fn sweep(&mut self, limits: AddressLimits, now: Instant) {
        if self.addresses.len() < (2 * self.left).max(ADDRESSES_LEAST_SWEPT) {
            return;
        }
        let burst = burst(limits);
        self.addresses.retain(|_, entry| {
            entry.earn(limits, now);
            entry.connections > 0 || entry.tokens < burst
        });
        self.left = self.addresses.len();
    }
}

impl Entry {
    fn earn(&mut self, limits: AddressLimits, now: Instant) {
        let earned = now.saturating_duration_since(self.counted).as_secs_f64() * f64::from(limits.per_second);
        self.tokens = (self.tokens + earned).min(burst(limits));
        self.counted = now;
    }
}

fn burst(limits: AddressLimits) -> f64 {
    f64::from(limits.per_second) * CONNECT_BURST.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: AddressLimits = AddressLimits { connections: 30, per_second: 2, handshakes: 3 };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let (mut table, mut now) = (Table::default(), Instant::now());
        for _ in 0..30 {
            now += Duration::from_secs(1);
            table.enter(address(1), LIMITS, now).unwrap();
        }
        assert_eq!(table.enter(address(1), LIMITS, now), Err(Turned::TooMany));
        table.enter(address(2), LIMITS, now).unwrap();
        table.leave(address(1));
        table.enter(address(1), LIMITS, now).unwrap();
    }

    #[test]
    fn an_address_has_so_many_handshakes_and_each_end_makes_room() {
        let gate = Gate::new(LIMITS);
        let passes: Vec<_> = (0..4).map(|_| gate.enter(address(1)).unwrap()).collect();
        let mut shaking: Vec<_> = passes[..3].iter().map(|pass| pass.shake().unwrap()).collect();
        assert_eq!(passes[3].shake().err(), Some(Turned::Unfinished));
        gate.enter(address(2)).unwrap().shake().unwrap();
        shaking.pop();
        passes[3].shake().unwrap();
    }

    #[test]
    fn a_burst_is_let_in_and_then_as_many_as_are_earned() {
        let (mut table, now) = (Table::default(), Instant::now());
        for _ in 0..20 {
            table.enter(address(1), LIMITS, now).unwrap();
            table.leave(address(1));
        }
        assert_eq!(table.enter(address(1), LIMITS, now), Err(Turned::TooFast));
        table.enter(address(1), LIMITS, now + Duration::from_millis(500)).unwrap();
        assert_eq!(table.enter(address(1), LIMITS, now + Duration::from_millis(500)), Err(Turned::TooFast));
    }

    #[test]
    fn whoever_is_gone_and_owes_nothing_is_forgotten() {
        let (mut table, now) = (Table::default(), Instant::now());
        let many = u32::try_from(ADDRESSES_LEAST_SWEPT).unwrap();
        for number in 0..many {
            let address = IpAddr::from(number.to_be_bytes());
            table.enter(address, LIMITS, now).unwrap();
            table.leave(address);
        }
        table.enter(address(1), LIMITS, now + CONNECT_BURST).unwrap();
        assert!(table.addresses.len() < 3, "{} are left", table.addresses.len());
    }

    #[test]
    fn no_limit_means_none() {
        let (mut table, now) = (Table::default(), Instant::now());
        for _ in 0..100_000 {
            table.enter(address(1), AddressLimits::default(), now).unwrap();
        }
    }

    #[test]
    fn the_addresses_of_one_network_are_one() {
        let [first, second]: [IpAddr; 2] =
            ["2001:db8::1".parse().unwrap(), "2001:db8::ffff:2".parse().unwrap()];
        assert_eq!(network(first), network(second));
        assert_eq!(network("::ffff:10.0.0.1".parse().unwrap()), address(1));
    }
}
