//! Look-ups by device, and the listing of devices.

use std::{cmp::Ordering, collections::BinaryHeap, sync::Arc};

use super::{
    Routes,
    row::Row,
    view::{DeviceFilter, DeviceView, Route},
};
use crate::{
    limits::ROWS_TOGETHER,
    model::ids::{DeviceKey, namespace_or_default},
};

impl Routes {
    /// A device.
    pub fn device(&self, key: &DeviceKey) -> Option<DeviceView> {
        self.tables.load().read(&key.namespace, &key.device, view_of)
    }

    /// The way to a named device. Allocates nothing.
    pub fn route(&self, namespace: &str, device: &str) -> Route {
        let namespace = namespace_or_default(namespace);
        self.tables.load().read(namespace, device, route_of).unwrap_or(Route::NotConnected)
    }

    /// The ways to devices that are named together, each told with its place. Allocates nothing.
    ///
    /// For registries that no cache holds: memory is waited for once for sixteen of them, not for each.
    pub fn routes_to<'k>(
        &self,
        devices: impl Iterator<Item = (&'k str, &'k str)> + Clone,
        mut tell: impl FnMut(usize, Route),
    ) {
        let devices = devices.map(|(namespace, device)| (namespace_or_default(namespace), device));
        let (tables, mut devices, mut place) = (self.tables.load(), devices.peekable(), 0);
        while devices.peek().is_some() {
            let rows = tables.fetch(devices.clone());
            for (at, (namespace, device)) in devices.by_ref().take(ROWS_TOGETHER).enumerate() {
                tell(place + at, rows.row(at, namespace, device).map_or(Route::NotConnected, route_of));
            }
            place += ROWS_TOGETHER;
        }
    }

    /// Up to `limit` devices whose id is greater than `after`, in the order of their ids.
    ///
    /// Reads every row, without a lock: some ten milliseconds per million.
    pub fn devices_after(
        &self,
        namespace: &str,
        after: Option<&str>,
        filter: &DeviceFilter<'_>,
        limit: usize,
    ) -> Vec<DeviceView> {
        if limit == 0 {
            return Vec::new();
        }
        let namespace = namespace_or_default(namespace);
        let chunks = self.tables.load().chunks();
        let rows = chunks.iter().flat_map(|chunk| chunk.iter().flatten());
        let mut page = BinaryHeap::new();
        for row in rows.filter(|row| after.is_none_or(|after| row.device.as_str() > after)) {
            let last = page.peek().filter(|_| page.len() >= limit);
            if last.is_some_and(|last: &ById<'_>| row.device >= last.0.device)
                || row.cohort.namespace != namespace
                || !matches(row, filter)
            {
                continue;
            }
            if last.is_some() {
                page.pop();
            }
            page.push(ById(row));
        }
        page.into_sorted_vec().into_iter().map(|ById(row)| view_of(row)).collect()
    }
}

fn view_of(row: &Row) -> DeviceView {
    DeviceView {
        key: DeviceKey { namespace: row.cohort.namespace.clone(), device: row.device.clone() },
        profile: Arc::clone(&row.cohort.profile),
        enabled: row.cohort.enabled,
        session: row.valid_session(),
        standing: row.standing().away_since(row.unused_since().unwrap_or_default()),
    }
}

fn route_of(row: &Row) -> Route {
    if !row.cohort.enabled {
        return Route::Disabled { profile: Arc::clone(&row.cohort.profile) };
    }
    match row.valid_session() {
        Some(session) => Route::Held { session, profile: Arc::clone(&row.cohort.profile) },
        None => Route::NotConnected,
    }
}

fn matches(row: &Row, filter: &DeviceFilter<'_>) -> bool {
    let holder = row.cohort.valid_holder();
    let profile = &row.cohort.profile;
    (!filter.connected_only || holder.is_some())
        && filter.node.is_none_or(|node| holder.is_some_and(|holder| holder.node == node))
        && filter.group.is_none_or(|group| profile.belongs_to(group))
        && profile.carries(filter.labels.iter().copied())
}

/// A row in the order of its device's id.
struct ById<'a>(&'a Row);

impl Ord for ById<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.device.cmp(&other.0.device)
    }
}

impl PartialOrd for ById<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ById<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ById<'_> {}
