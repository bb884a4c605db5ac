//! A device as the core knows it, across connections.

use std::time::Duration;

use bytes::Bytes;
use rollcall_proto::device as wire;

/// One device's identity, profile, and what it has held.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) namespace: String,
    pub(crate) device_id: String,
    pub(crate) profile: wire::Profile,
    /// The cluster of `newest`.
    pub(crate) cluster_id: String,
    /// The newest epoch held; 0: none.
    pub(crate) newest: u64,
    pub(crate) resume_token: Bytes,
    /// No attach before this.
    pub(crate) retry_at: Duration,
    /// When it was last attached, while it is not.
    pub(crate) lost_at: Option<Duration>,
    /// Refusals in a row.
    pub(crate) failures: u32,
    /// Nothing is tried any more.
    pub(crate) over: bool,
}

impl Session {
    /// A device that was never attached.
    pub(crate) fn new(namespace: String, device_id: String, profile: wire::Profile) -> Self {
        Self {
            namespace,
            device_id,
            profile,
            cluster_id: String::new(),
            newest: 0,
            resume_token: Bytes::new(),
            retry_at: Duration::ZERO,
            lost_at: None,
            failures: 0,
            over: false,
        }
    }

    /// Its attach, as the protocol carries it.
    pub(crate) fn attach(&self, instance: u64, attach_number: u64) -> wire::Attach {
        wire::Attach {
            namespace: self.namespace.clone(),
            device_id: self.device_id.clone(),
            instance,
            attach_number,
            profile: Some(self.profile.clone()),
            cluster_id: self.cluster_id.clone(),
            newest_epoch: self.newest,
            resume_token: self.resume_token.clone(),
            running: Vec::new(),
            finished: Vec::new(),
            gone: Vec::new(),
            lists_all: false,
        }
    }

    /// It is attached. Epochs compare only within one cluster.
    pub(crate) fn attached(&mut self, attached: wire::Attached) {
        if self.cluster_id != attached.cluster_id {
            self.cluster_id = attached.cluster_id;
            self.newest = 0;
        }
        if attached.epoch >= self.newest {
            self.newest = attached.epoch;
            self.resume_token = attached.resume_token;
        }
    }
}
