//! One life of a node, shared by all rows that it holds: taking it down invalidates them all at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::ids::{Incarnation, NodeId};

/// One life of a node.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    up: AtomicBool,
    sessions: AtomicU64,
}

impl Life {
    /// A life that has begun.
    pub(crate) fn begun(node: NodeId, incarnation: Incarnation) -> Self {
        Self { node, incarnation, up: AtomicBool::new(true), sessions: AtomicU64::new(0) }
    }

    /// A life that is over; rows still name it.
    pub(crate) fn over(node: NodeId, incarnation: Incarnation) -> Self {
        Self { node, incarnation, up: AtomicBool::new(false), sessions: AtomicU64::new(0) }
    }

    /// Whether its sessions count.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Makes all its sessions void.
    pub(crate) fn end(&self) {
        self.up.store(false, Ordering::Release);
    }

    /// The rows that name it, valid or void.
    pub(crate) fn rows(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Its valid sessions.
    pub(crate) fn sessions(&self) -> u64 {
        if self.is_up() { self.rows() } else { 0 }
    }

    pub(super) fn gain(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lose(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}
