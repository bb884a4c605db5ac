//! One peer and the links to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use compact_str::CompactString;
use rollcall_registry::model::ids::NodeId;
use tokio::{sync::Notify, task::AbortHandle};

use super::{hints::Hints, outbound::OutboundLink, view::LinkView};
use crate::limits;

/// One peer and the links to it. Dropping it ends them.
pub(crate) struct Peer {
    /// Its stable name.
    pub(crate) name: CompactString,
    /// Where it is dialled, `host:port`.
    pub(crate) address: String,
    /// Its id.
    pub(crate) id: NodeId,
    /// The links to it.
    pub(crate) links: Vec<Arc<OutboundLink>>,
    /// Dial now, whatever the back-off says.
    pub(crate) redial: Arc<Notify>,
    /// What is believed of its groups.
    pub(crate) hints: Hints,
    pub(super) dialers: Vec<AbortHandle>,
    turn: AtomicUsize,
}

impl Peer {
    pub(crate) fn new(me: NodeId, id: NodeId, name: CompactString, address: String, links: usize) -> Self {
        Self {
            name,
            address,
            id,
            links: (0..links).map(|_| Arc::new(OutboundLink::new(me))).collect(),
            redial: Arc::new(Notify::new()),
            hints: Hints::default(),
            dialers: Vec::new(),
            turn: AtomicUsize::new(0),
        }
    }

    /// A link that takes calls; they take turns.
    pub(crate) fn link(&self) -> Option<&Arc<OutboundLink>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let count = self.links.len();
        (0..count).map(|step| &self.links[(turn.wrapping_add(step)) % count]).find(|link| link.is_up())
    }

    /// Whether calls can be sent to it.
    pub(crate) fn is_up(&self) -> bool {
        self.links.iter().any(|link| link.is_up())
    }

    /// Whether it should be spared, as it last said.
    pub(crate) fn is_pressed(&self) -> bool {
        self.links.iter().any(|link| link.is_up() && link.pressure() >= limits::PRESSED_PERCENT)
    }

    /// What the node says about it.
    pub(crate) fn view(&self) -> LinkView {
        LinkView {
            up: self.is_up(),
            round_trip: self.links.iter().filter_map(|link| link.round_trip()).min(),
            picked: self.links.iter().map(|link| link.picked()).sum(),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.dialers.iter().for_each(AbortHandle::abort);
        self.links.iter().for_each(|link| link.removed());
    }
}
