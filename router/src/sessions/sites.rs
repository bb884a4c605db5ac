//! Devices that are lost together with their site: who is doubted, who is believed again, what callers are told.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use compact_str::CompactString;
use parking_lot::Mutex;
use rollcall_proto::device::CloseCode;
use rollcall_registry::{
    Registrar,
    model::{ids::DeviceKey, profile::Profile},
};
use tokio::time::Instant;

use super::{device_sessions::DeviceSessions, ending, live::LiveDevice};
use crate::{
    call::Call,
    core::site_loss::{Sites, Verdict},
    outcome::Failure,
};

/// The label that says where a device is.
pub(crate) const SITE_LABEL: &str = "site";

/// The sites of this node's devices.
#[derive(Debug, Default)]
pub(crate) struct SiteWatch {
    sites: Mutex<Sites>,
    /// Spares everybody the lock while all is well.
    any_lost: AtomicBool,
}

impl SiteWatch {
    fn with<T>(&self, step: impl FnOnce(&mut Sites, Instant) -> T) -> T {
        let mut sites = self.sites.lock();
        let value = step(&mut sites, Instant::now());
        self.any_lost.store(sites.any_lost(), Ordering::Relaxed);
        value
    }
}

/// Where a device of this profile is.
pub(super) fn site_of(profile: &Profile) -> Option<CompactString> {
    profile.labels.iter().find(|(key, _)| key == SITE_LABEL).map(|(_, site)| site.clone())
}

impl<R: Registrar> DeviceSessions<R> {
    /// A device can be called from now on.
    pub(super) fn site_gains(&self, live: &LiveDevice) {
        if let Some(site) = &live.site {
            self.sites.with(|sites, now| sites.arrived(site, now));
        }
    }

    /// A device's session is over.
    pub(super) fn site_loses(&self, live: &LiveDevice, code: CloseCode) {
        let Some(site) = &live.site else { return };
        let lost = matches!(code, CloseCode::Unspecified | CloseCode::Heartbeat | CloseCode::TooSlow);
        if !lost || live.shown.has_left() {
            return self.sites.with(|sites, now| sites.left(site, now));
        }
        let verdict = self.sites.with(|sites, now| sites.lost(site, now));
        if verdict == Verdict::SiteLost
            && let Some(me) = self.me.upgrade()
        {
            let site = site.clone();
            // Not here: a connection's lock may be held.
            self.runtime.spawn(async move { me.doubt(&site) });
        }
    }

    /// Asks the rest of a site for a sign of life; until then it gets no calls.
    fn doubt(&self, site: &str) {
        self.shared.metrics.sites_lost.increment(1);
        let of_site = |live: &Arc<LiveDevice>| live.site.as_deref() == Some(site);
        let rest: Vec<_> = self.table.all().into_iter().filter(of_site).collect();
        tracing::warn!(site, devices = rest.len(), "half of a site was lost at once: the rest is doubted");
        for live in rest {
            live.shown.doubt();
            live.connection.probe();
        }
    }

    /// What a caller is told whom nobody of a lost site can answer; otherwise its own failure.
    pub(crate) fn sum_up_site(&self, call: &Call, failure: Failure) -> Failure {
        if !self.sites.any_lost.load(Ordering::Relaxed) {
            return failure;
        }
        let named = || {
            let key = DeviceKey::new(&call.namespace, call.device_id.as_ref()?);
            site_of(&self.registry.routes().device(&key)?.profile)
        };
        let asked = call.labels.iter().find(|(key, _)| key == SITE_LABEL).map(|(_, site)| site.clone());
        let lost =
            asked.or_else(named).and_then(|site| self.sites.with(|sites, now| sites.retry_after(&site, now)));
        if lost.is_some() { ending::site_lost() } else { failure }
    }
}
