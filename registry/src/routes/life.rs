//! One life of a node, shared by all rows that it holds: taking it down invalidates them all at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::model::ids::{Incarnation, NodeId, UnixMillis};

/// One life of a node.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
    up: AtomicBool,
    /// By the clock of whoever said so; final once the life is over.
    ended_at: AtomicU64,
    sessions: AtomicU64,
}

impl Life {
    /// A life that has begun.
    pub(crate) fn begun(node: NodeId, incarnation: Incarnation) -> Self {
        let (up, ended_at, sessions) = (AtomicBool::new(true), AtomicU64::new(0), AtomicU64::new(0));
        Self { node, incarnation, up, ended_at, sessions }
    }

    /// A life that is over; rows still name it.
    pub(crate) fn over(node: NodeId, incarnation: Incarnation) -> Self {
        Self { up: AtomicBool::new(false), ..Self::begun(node, incarnation) }
    }

    /// Whether its sessions count.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Makes all its sessions void. A second time changes nothing.
    pub(crate) fn end(&self, at: UnixMillis) {
        if self.is_up() {
            self.ended_at.store(at.0, Ordering::Relaxed);
            self.up.store(false, Ordering::Release);
        }
    }

    /// When it ended; 0: it has not, or nobody said when.
    pub(crate) fn ended_at(&self) -> UnixMillis {
        UnixMillis(self.ended_at.load(Ordering::Relaxed))
    }

    /// A snapshot's row says when this life ended.
    pub(crate) fn was_over_at(&self, at: UnixMillis) {
        if !self.is_up() {
            self.ended_at.store(at.0, Ordering::Relaxed);
        }
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
