//! Replacing a session's profile, as part of a batch.

use std::sync::Arc;

use crate::{
    model::{
        event::Event,
        ids::{DeviceKey, Epoch},
        profile::Profile,
        rejection::ChangeRejection,
    },
    routes::{
        row::Row,
        writer::{Content, Writer},
    },
};

/// Replaces what the device says of itself if the row's session is open and still has this epoch.
pub(super) fn update(
    writer: &mut Writer,
    device: &DeviceKey,
    epoch: Epoch,
    profile: &Arc<Profile>,
) -> Result<Event, ChangeRejection> {
    let place = writer.find(device);
    let mismatch = ChangeRejection::EpochMismatch { current: place.row().map_or(Epoch(0), |row| row.epoch) };
    let row = place.row().filter(|row| row.epoch == epoch).ok_or(mismatch)?;
    let session = Row::open_session(row).ok_or(mismatch)?;
    let content = Content { profile: Arc::clone(profile), ..Content::of(row) };
    let profile = writer.put(place, device, content);
    Ok(Event::Updated { device: device.clone(), session, profile })
}
