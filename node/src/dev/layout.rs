//! Which node listens where.

use std::{net::TcpListener, path::Path};

use anyhow::{bail, ensure};
use rand::Rng;

use super::{DevArgs, limits, terminal::Terminal};

/// The nodes' places.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) nodes: Vec<Place>,
}

/// One node's name and its ports on 127.0.0.1.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) api: u16,
    pub(super) device: u16,
    pub(super) peer: u16,
    pub(super) http: u16,
}

/// The first node's ports are the documented ones; the others' follow in steps of ten.
const USUAL_BASE: u16 = 7_400;
const STEP: u16 = 10;

impl Layout {
    /// The documented ports, or free ones if they are taken.
    pub(super) fn on_usual_ports(args: &DevArgs, terminal: &Terminal) -> anyhow::Result<Self> {
        let usual = Self::from(USUAL_BASE);
        let Some(taken) = usual.taken() else { return Ok(usual) };
        // A cluster knows its nodes by their addresses: in a folder that outlives us they must stay the same.
        ensure!(
            args.data_dir.is_none(),
            "port {taken} is taken, and a cluster with a folder of its own keeps its ports: \
             stop what listens there (an older `rollcall dev`?), or go without --data-dir"
        );
        terminal.say(format!("port {taken} is taken (an older `rollcall dev`?): other, free ports are used"));
        Self::on_free_ports()
    }

    /// Ports that were free a moment ago.
    pub(super) fn on_free_ports() -> anyhow::Result<Self> {
        let mut random = rand::rng();
        for _ in 0..limits::PORT_TRIES {
            let layout = Self::from(random.random_range(limits::FREE_PORTS) / 100 * 100);
            if layout.taken().is_none() {
                return Ok(layout);
            }
        }
        bail!("no free ports between {} and {}", limits::FREE_PORTS.start, limits::FREE_PORTS.end)
    }

    fn from(base: u16) -> Self {
        let place = |number: u16| {
            let first = base + number * STEP;
            Place {
                name: format!("n{}", number + 1),
                api: first,
                device: first + 1,
                peer: first + 2,
                http: first + 3,
            }
        };
        Self { nodes: (0..3).map(place).collect() }
    }

    /// A port on which somebody else listens.
    fn taken(&self) -> Option<u16> {
        let ports = self.nodes.iter().flat_map(|node| [node.api, node.device, node.peer, node.http]);
        ports.into_iter().find(|port| TcpListener::bind(("127.0.0.1", *port)).is_err())
    }

    /// What every node's `--join` says.
    fn join(&self) -> String {
        let peers: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.peer)).collect();
        peers.join(",")
    }

    /// A node's command line, without the program.
    pub(super) fn arguments(&self, node: &Place, home: &Path) -> Vec<String> {
        let listen = |port: u16| format!("127.0.0.1:{port}");
        let flags = [
            ("--name", node.name.clone()),
            ("--data-dir", home.join(&node.name).display().to_string()),
            ("--join", self.join()),
            ("--bootstrap-expect", self.nodes.len().to_string()),
            ("--api-addr", listen(node.api)),
            ("--device-addr", listen(node.device)),
            ("--peer-addr", listen(node.peer)),
            ("--http-addr", listen(node.http)),
            ("--drain-grace", limits::DRAIN_GRACE.to_owned()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]);
        ["serve".to_owned(), "--insecure".to_owned()].into_iter().chain(flags).collect()
    }
}

impl Place {
    /// Where services reach it.
    pub(super) fn api_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    /// Where devices reach it.
    pub(super) fn device_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_has_the_documented_ports() {
        let first = Layout::from(USUAL_BASE).nodes.remove(0);
        assert_eq!((first.api, first.device, first.peer, first.http), (7400, 7401, 7402, 7403));
    }

    #[test]
    fn free_ports_are_twelve_different_ones() {
        let layout = Layout::on_free_ports().unwrap();
        let ports: std::collections::BTreeSet<_> =
            layout.nodes.iter().flat_map(|node| [node.api, node.device, node.peer, node.http]).collect();
        assert_eq!(ports.len(), 12);
    }

    #[test]
    fn a_listener_makes_its_port_taken() {
        let layout = Layout::on_free_ports().unwrap();
        let port = layout.nodes[1].peer;
        let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        assert_eq!(layout.taken(), Some(port));
    }
}
