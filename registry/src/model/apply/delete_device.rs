//! `DeleteDevice`: an administrator deletes a device's record.

use crate::model::{
    command::DeleteDevice,
    event::{CloseCause, Event},
    rejection::RecordRejection,
    response::Response,
    state::{Applied, State},
};

/// Deletes the record, and with it what was known of the device's attaches; a session that it has ends.
pub(in crate::model) fn delete_device(state: &mut State, delete: &DeleteDevice) -> Applied {
    if let Err(rejection) = state.founded() {
        return rejection.into();
    }
    let place = state.writer.find(&delete.device);
    let refused = |rejection: RecordRejection| Applied::answer(Response::Rejected(rejection.into()));
    let Some(row) = place.row() else { return refused(RecordRejection::Missing) };
    let current = row.standing().etag();
    if delete.etag.is_some_and(|wanted| wanted != current) {
        return refused(RecordRejection::EtagMismatch { current });
    }
    let device = delete.device.clone();
    let mut events = Vec::with_capacity(2);
    if let Some(held) = row.valid_session() {
        let session = held.reference();
        let (device, profile, cause) = (device.clone(), row.cohort.profile.clone(), CloseCause::Deleted);
        events.push(Event::Closed { device, session, profile, cause });
    }
    events.push(Event::Removed { device, profile: row.cohort.profile.clone() });
    state.writer.remove(place);
    Applied { response: Response::Done, events }
}
