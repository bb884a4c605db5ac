//! Ports that no other test takes: a block of them is claimed by a lock and checked to be free.

use std::{fs::File, net::TcpListener};

use anyhow::bail;

use crate::{limits, turn::try_lock};

/// A block of ports, claimed until it is dropped.
#[derive(Debug)]
pub(crate) struct PortBlock {
    first: u16,
    _claim: File,
}

impl PortBlock {
    /// Claims a block whose ports are all free.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn claim() -> anyhow::Result<Self> {
        for first in limits::PORTS.step_by(usize::from(limits::PORTS_PER_BLOCK)) {
            let Some(claim) = try_lock(&format!("ports-{first}"))? else { continue };
            if all_free(first) {
                return Ok(Self { first, _claim: claim });
            }
        }
        bail!("no {} free ports in a row within {:?}", limits::PORTS_PER_BLOCK, limits::PORTS)
    }

    /// A port of the block.
    ///
    /// # Errors
    /// The block is smaller than that.
    pub(crate) fn port(&self, offset: u16) -> anyhow::Result<u16> {
        if offset >= limits::PORTS_PER_BLOCK {
            bail!("a cluster has {} ports; port {offset} is asked for", limits::PORTS_PER_BLOCK);
        }
        Ok(self.first + offset)
    }
}

fn all_free(first: u16) -> bool {
    (first..first + limits::PORTS_PER_BLOCK).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
}
