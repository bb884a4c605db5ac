//! Opening a session, as part of a batch.

use std::sync::Arc;

use crate::{
    model::{
        command::OpenSession,
        event::{Event, SessionRef},
        ids::{DeviceKey, Epoch, UnixMillis},
        policy::RegistrationMode,
        profile::Profile,
        record::Standing,
        rejection::ChangeRejection,
    },
    routes::{
        life::Life,
        row::Row,
        writer::{Content, Writer},
    },
};

/// Opens a session at `epoch`, held by `life`; the device's first one makes its record. `profile` is the one that is wanted,
/// or one that equals it.
pub(super) fn open(
    writer: &mut Writer,
    registration: RegistrationMode,
    life: &Arc<Life>,
    epoch: Epoch,
    device: &DeviceKey,
    wanted: &OpenSession,
    profile: Arc<Profile>,
) -> Result<Event, ChangeRejection> {
    let place = writer.find(device);
    match (place.row(), registration) {
        (Some(row), _) => may_replace(row, wanted)?,
        (None, RegistrationMode::Known) => return Err(ChangeRejection::NotRegistered),
        (None, RegistrationMode::Open) => {}
    }
    let replaced = place.row().and_then(Row::open_session);
    let rival = place.row().and_then(Row::valid_session).filter(|held| held.instance != wanted.instance);
    let rival_from = rival.map(|_| wanted.remote_addr.clone());
    let standing = place.row().map_or(Standing::SelfMade { away_since: UnixMillis(0) }, |row| row.standing());
    let content = Content {
        epoch,
        instance: wanted.instance,
        attach_number: wanted.attach_number,
        profile,
        standing: standing.away_since(UnixMillis(0)),
        holder: Some(Arc::clone(life)),
    };
    let profile = writer.put(place, device, content);
    let session =
        SessionRef { node: life.node, incarnation: life.incarnation, epoch, instance: wanted.instance };
    Ok(Event::Opened { device: device.clone(), session, profile, replaced, rival_from })
}

fn may_replace(row: &Row, wanted: &OpenSession) -> Result<(), ChangeRejection> {
    if !row.cohort.enabled {
        return Err(ChangeRejection::Disabled);
    }
    if is_older_attach(row, wanted) {
        return Err(ChangeRejection::OlderAttach { newer: row.epoch });
    }
    // A node announces its live streams again: only those that nobody has taken over since.
    match wanted.only_if {
        Some(held) if row.epoch != held && row.valid_session().is_some() => {
            Err(ChangeRejection::EpochMismatch { current: row.epoch })
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the device itself has attached since. An attach number opens one session; the same one may open it
/// again only when that session is void or closed, as when a node announces its streams after a lapse.
fn is_older_attach(row: &Row, wanted: &OpenSession) -> bool {
    row.instance == wanted.instance
        && (wanted.attach_number < row.attach_number
            || (wanted.attach_number == row.attach_number && row.valid_session().is_some()))
}
