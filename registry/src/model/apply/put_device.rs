//! `PutDevice`: an administrator makes or changes a device's record.

use std::sync::Arc;

use crate::{
    model::{
        command::{Expect, PutDevice},
        event::{CloseCause, Event, SessionRef},
        ids::{AttachNumber, Epoch, Etag, InstanceId, UnixMillis},
        profile::Profile,
        record::{Assigned, Standing},
        rejection::RecordRejection,
        response::Response,
        state::{Applied, State},
    },
    routes::{row::Row, writer::Content},
};

/// Lays what is assigned over what the device says; the record is the administrator's from then on, and stays.
///
/// The session of a device that is disabled ends. That of any other goes on with the new profile.
pub(in crate::model) fn put_device(state: &mut State, put: &PutDevice) -> Applied {
    if let Err(rejection) = state.founded() {
        return rejection.into();
    }
    let place = state.writer.find(&put.device);
    if is_repeat(place.row(), put) {
        return Applied::answer(Response::Done);
    }
    if let Err(rejection) = expected(place.row().map(|row| row.standing().etag()), put.expect) {
        return Applied::answer(Response::Rejected(rejection.into()));
    }
    let existed = place.row().is_some();
    let session = place.row().and_then(Row::valid_session).map(|held| held.reference());
    let assigned = assigned(place.row(), put);
    let enabled = assigned.enabled;
    let content = Content {
        standing: Standing::Registered { etag: put.new_etag, assigned: Arc::new(assigned) },
        ..place.row().map_or_else(unattached, Content::of)
    };
    let content = if enabled { content } else { content.closed(UnixMillis(0)) };
    let former = place.row().map(|row| Arc::clone(&row.cohort.profile));
    let profile = state.writer.put(place, &put.device, content);
    let device = put.device.clone();
    let events = match session {
        _ if !existed => vec![Event::Created { device, profile }],
        Some(session) if enabled => vec![Event::Updated { device, session, profile }],
        Some(session) => vec![closed(put, session, former), Event::Changed { device, profile }],
        None => vec![Event::Changed { device, profile }],
    };
    Applied { response: Response::Done, events }
}

fn is_repeat(row: Option<&Row>, put: &PutDevice) -> bool {
    row.is_some_and(|row| row.is_registered() && row.standing().etag() == put.new_etag)
}

fn closed(put: &PutDevice, session: SessionRef, former: Option<Arc<Profile>>) -> Event {
    let (device, profile) = (put.device.clone(), former.unwrap_or_default());
    Event::Closed { device, session, profile, cause: CloseCause::Disabled }
}

/// Whether a record of this etag, or none, is what is expected.
pub(super) fn expected(record: Option<Etag>, expect: Expect) -> Result<(), RecordRejection> {
    match (record, expect) {
        (None, Expect::NoRecord) | (Some(_), Expect::AnyRecord) => Ok(()),
        (None, Expect::AnyRecord | Expect::Etag(_)) => Err(RecordRejection::Missing),
        (Some(etag), Expect::NoRecord) => Err(RecordRejection::Exists { etag }),
        (Some(etag), Expect::Etag(wanted)) if etag == wanted => Ok(()),
        (Some(current), Expect::Etag(_)) => Err(RecordRejection::EtagMismatch { current }),
    }
}

fn assigned(row: Option<&Row>, put: &PutDevice) -> Assigned {
    let before = match row.map(Row::standing) {
        Some(Standing::Registered { assigned, .. }) => Arc::unwrap_or_clone(assigned),
        Some(Standing::SelfMade { .. }) | None => Assigned::default(),
    };
    Assigned {
        groups: put.groups.clone().unwrap_or(before.groups),
        labels: put.labels.clone().unwrap_or(before.labels),
        enabled: put.enabled.unwrap_or(before.enabled),
    }
}

/// A device that was never there.
fn unattached() -> Content {
    Content {
        epoch: Epoch(0),
        instance: InstanceId(0),
        attach_number: AttachNumber(0),
        profile: Arc::new(Profile::unsaid()),
        standing: Standing::SelfMade { away_since: UnixMillis(0) },
        holder: None,
    }
}
