//! `RemoveExpired`: removes records that their devices made by themselves and have not used for long.

use crate::{
    model::{
        command::RemoveExpired,
        event::Event,
        ids::{DeviceKey, UnixMillis},
        policy::RegistrationMode,
        response::Response,
        state::{Applied, State},
    },
    routes::writer::{Content, Writer},
};

/// Looks at each named record again, because its device may have come back since, and removes it if it still is unused
/// since before the cutoff.
///
/// A record from before times were kept counts from this entry on. While only known devices may attach, nothing goes.
pub(in crate::model) fn remove_expired(state: &mut State, expired: &RemoveExpired) -> Applied {
    match state.founded() {
        Ok(cluster) if cluster.policy.registration == RegistrationMode::Known => {
            return Applied::answer(Response::Done);
        }
        Ok(_) => {}
        Err(rejection) => return rejection.into(),
    }
    // A record that this entry starts to time must not be removed by its repeat.
    let cutoff = expired.cutoff.min(expired.at);
    let remove = |device| remove_one(&mut state.writer, device, cutoff, expired.at);
    let events = expired.devices.iter().filter_map(remove).collect();
    Applied { response: Response::Done, events }
}

fn remove_one(writer: &mut Writer, device: &DeviceKey, cutoff: UnixMillis, at: UnixMillis) -> Option<Event> {
    let place = writer.find(device);
    let row = place.row()?;
    match row.unused_since()? {
        UnixMillis(0) => {
            let content = Content::of(row).closed(at);
            writer.put(place, device, content);
            None
        }
        away if away < cutoff => {
            let profile = row.cohort.profile.clone();
            writer.remove(place);
            Some(Event::Removed { device: device.clone(), profile })
        }
        _ => None,
    }
}
