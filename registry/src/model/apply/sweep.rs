//! `Sweep`: closes sessions whose holder's life is over, so that no row names it any more.

use crate::{
    model::{
        command::Sweep,
        ids::{DeviceKey, Epoch},
        response::Response,
        state::{Applied, State},
    },
    routes::writer::{Content, Writer},
};

/// Closes the named sessions that are void. The end of the life has been told already: there are no events.
pub(in crate::model) fn sweep(state: &mut State, sweep: &Sweep) -> Applied {
    if let Err(rejection) = state.founded() {
        return rejection.into();
    }
    for (device, epoch) in &sweep.rows {
        sweep_one(&mut state.writer, device, *epoch);
    }
    Applied::answer(Response::Done)
}

fn sweep_one(writer: &mut Writer, device: &DeviceKey, epoch: Epoch) {
    let place = writer.find(device);
    let Some(row) = place.row().filter(|row| row.epoch == epoch) else { return };
    let Some(life) = row.cohort.holder.as_deref().filter(|life| !life.is_up()) else { return };
    let content = Content::of(row).closed(life.ended_at());
    writer.put(place, device, content);
}
