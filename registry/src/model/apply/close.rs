//! Closing a session, as part of a batch.

use std::sync::Arc;

use crate::{
    faults::{self, Switch},
    model::{
        event::{CloseCause, Event},
        ids::{DeviceKey, Epoch, UnixMillis},
        rejection::ChangeRejection,
    },
    routes::{
        row::Row,
        writer::{Content, Writer},
    },
};

/// Closes the session if the row still has this epoch, whichever node asks. The row keeps epoch, instance and attach
/// number, so that a late open of an older attach is still refused. Of a session that is void already the end has been told.
pub(super) fn close(
    writer: &mut Writer,
    device: &DeviceKey,
    epoch: Epoch,
    at: UnixMillis,
) -> Result<Option<Event>, ChangeRejection> {
    let any = faults::is_on(Switch::ClosesUnconditional);
    let place = writer.find(device);
    let mismatch = ChangeRejection::EpochMismatch { current: place.row().map_or(Epoch(0), |row| row.epoch) };
    let row = place.row().filter(|row| row.epoch == epoch || any).ok_or(mismatch)?;
    let session = Row::open_session(row).ok_or(mismatch)?;
    let ends = row.valid_session().is_some().then(|| Arc::clone(&row.cohort.profile));
    let content = Content::of(row).closed(at);
    writer.put(place, device, content);
    let closed =
        |profile| Event::Closed { device: device.clone(), session, profile, cause: CloseCause::Asked };
    Ok(ends.map(closed))
}
