//! A network of one's own: each node in a network namespace, all on one bridge, and packets that get lost on purpose.
//!
//! Needs root, `ip` and `iptables`; where they are not, there is none and what needs it is NOT RUN. This process stands
//! on the bridge too: it is the callers and the devices.

use std::{
    fs::File,
    net::Ipv4Addr,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, bail, ensure};

use crate::{limits, turn::try_lock, warden};

/// A bridge with namespaces behind it; all of it goes when this is dropped, or when the process ends.
#[derive(Debug)]
pub struct Network {
    number: u8,
    prefix: String,
    hosts: Vec<Host>,
    _claim: File,
}

/// A namespace with an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The namespace's name, as `ip netns` has it.
    pub namespace: String,
    /// Its address on the bridge.
    pub address: Ipv4Addr,
}

/// Where packets are dropped. Undone by [`Network::heal`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// Everything from the first to the second, in this direction.
    OneWay(Ipv4Addr, Ipv4Addr),
    /// Everything that enters a host for this TCP port of its own, and what it sends from there.
    Port(Ipv4Addr, u16),
    /// Each packet that enters a host, with this probability.
    Random(Ipv4Addr, f64),
}

impl Network {
    /// Makes a bridge without hosts; nothing where that is not permitted.
    ///
    /// # Errors
    /// All networks are taken.
    pub(crate) fn open() -> anyhow::Result<Option<Self>> {
        let permitted = run("iptables", &["--version"]).is_ok() && run("ip", &["netns", "list"]).is_ok();
        if !permitted || !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        for number in limits::NETWORKS {
            let Some(claim) = try_lock(&format!("network-{number}"))? else { continue };
            // A namespace that was deleted lives on for a moment: no name is given twice.
            static OPENED: AtomicU32 = AtomicU32::new(0);
            let opened = OPENED.fetch_add(1, Ordering::Relaxed) % 1_000;
            let prefix = format!("r{}x{opened}", std::process::id());
            let network = Self { number, prefix, hosts: Vec::new(), _claim: claim };
            return Ok(network.raise_bridge().is_ok().then_some(network));
        }
        bail!("all networks of {:?} are taken", limits::NETWORKS)
    }

    fn raise_bridge(&self) -> anyhow::Result<()> {
        let bridge = self.bridge();
        warden::unlink(&bridge);
        let gateway = format!("{}/24", self.gateway());
        run("ip", &["link", "add", "name", &bridge, "type", "bridge"])?;
        run("ip", &["address", "add", &gateway, "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])
    }

    fn bridge(&self) -> String {
        format!("{}b", self.prefix)
    }

    /// This process' address on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 1)
    }

    /// The address that the host of this number, from 0, has or will have.
    pub(crate) fn address_of(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.number, 11 + number)
    }

    /// Adds a namespace with its own address, on the bridge.
    ///
    /// # Errors
    /// `ip` fails.
    pub(crate) fn add_host(&mut self) -> anyhow::Result<Host> {
        let number = u8::try_from(self.hosts.len())?;
        let (namespace, outside) = (format!("{}n{number}", self.prefix), format!("{}v{number}", self.prefix));
        let address = self.address_of(number);
        let host = Host { namespace: namespace.clone(), address };
        warden::forget_namespace(&namespace);
        // Before it is made: what is left half made goes too.
        self.hosts.push(host.clone());
        run("ip", &["netns", "add", &namespace])?;
        run("ip", &["link", "add", &outside, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        run("ip", &["link", "set", &outside, "master", &self.bridge(), "up"])?;
        let inside = |arguments: &[&str]| run("ip", &[&["-n", namespace.as_str()], arguments].concat());
        inside(&["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["link", "set", "lo", "up"])?;
        Ok(host)
    }

    /// Drops packets from now on.
    ///
    /// # Errors
    /// The address is no host's; `iptables` fails.
    pub fn lose(&self, loss: Loss) -> anyhow::Result<()> {
        match loss {
            Loss::OneWay(from, to) if to == self.gateway() => {
                self.rule(from, &["OUTPUT", "-d", &to.to_string()])
            }
            Loss::OneWay(from, to) => self.rule(to, &["INPUT", "-s", &from.to_string()]),
            Loss::Port(host, port) => {
                let port = port.to_string();
                self.rule(host, &["INPUT", "-p", "tcp", "--dport", &port])?;
                self.rule(host, &["OUTPUT", "-p", "tcp", "--sport", &port])
            }
            Loss::Random(host, probability) => {
                let probability = format!("{probability:.4}");
                let every = ["INPUT", "-m", "statistic", "--mode", "random", "--probability", &probability];
                self.rule(host, &every)
            }
        }
    }

    /// Cuts every host of one side from every host of the other, both ways.
    ///
    /// # Errors
    /// As [`Network::lose`].
    pub fn part(&self, one: &[Ipv4Addr], other: &[Ipv4Addr]) -> anyhow::Result<()> {
        for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
            self.lose(Loss::OneWay(a, b))?;
            self.lose(Loss::OneWay(b, a))?;
        }
        Ok(())
    }

    /// Packets arrive again, everywhere.
    ///
    /// # Errors
    /// `iptables` fails.
    pub fn heal(&self) -> anyhow::Result<()> {
        self.hosts.iter().try_for_each(|host| within(&host.namespace, &["-F"]))
    }

    fn rule(&self, at: Ipv4Addr, what: &[&str]) -> anyhow::Result<()> {
        let host = self.hosts.iter().find(|host| host.address == at);
        let host = host.with_context(|| format!("{at} is no host of this network"))?;
        within(&host.namespace, &[&["-A"], what, &["-j", "DROP"]].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            let _ = run("ip", &["netns", "delete", &host.namespace]);
        }
        let _ = run("ip", &["link", "delete", &self.bridge()]);
    }
}

fn within(namespace: &str, arguments: &[&str]) -> anyhow::Result<()> {
    run("ip", &[&["netns", "exec", namespace, "iptables", "-w"], arguments].concat())
}

fn run(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let ran = Command::new(program).args(arguments).output();
    let Output { status, stderr, .. } = ran.with_context(|| format!("cannot run {program}"))?;
    let complaint = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{program} {arguments:?}: {status}: {complaint}");
    Ok(())
}
