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

/// Replaces what the device says of itself if the row's session is open and still has this epoch; it may be void.
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
    let is_valid = row.valid_session().is_some();
    let content = Content { profile: Arc::clone(profile), ..Content::of(row) };
    let profile = writer.put(place, device, content);
    let device = device.clone();
    Ok(if is_valid {
        Event::Updated { device, session, profile }
    } else {
        Event::Changed { device, profile }
    })
}
