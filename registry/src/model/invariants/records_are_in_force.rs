//! What an administrator says of a device is what everybody sees of it.

use super::{Violation, ensure, rows};
use crate::{
    model::{ids::UnixMillis, record::Standing, state::State},
    routes::row::Row,
};

/// Each row shows its device's own word with what is assigned laid over it; a disabled device has no session; the time
/// since when a device is away is kept exactly for those whose record may expire.
///
/// # Errors
/// Names the device.
pub fn records_are_in_force(state: &State) -> Result<(), Violation> {
    rows(state).iter().try_for_each(in_force)
}

fn in_force(row: &Row) -> Result<(), Violation> {
    let (key, cohort) = (&row.device, &row.cohort);
    match row.standing() {
        Standing::SelfMade { .. } => {
            ensure(cohort.enabled, || format!("{key}: it made its record, and is disabled"))?;
            ensure(cohort.profile == cohort.own, || format!("{key}: it is not what it says, of its own"))?;
            let away = row.unused_since().is_some();
            ensure(away == row.valid_session().is_none(), || format!("{key}: away is {away}"))
        }
        Standing::Registered { assigned, .. } => {
            ensure(cohort.enabled == assigned.enabled, || format!("{key}: enabled is not what is assigned"))?;
            let effective = assigned.over(&cohort.own);
            ensure(cohort.profile == effective, || format!("{key}: what is assigned is not in force"))?;
            let held = row.open_session();
            ensure(assigned.enabled || held.is_none(), || format!("{key}: disabled, it has {held:?}"))?;
            let unused: Option<UnixMillis> = row.unused_since();
            ensure(unused.is_none(), || format!("{key}: it is registered, and unused since {unused:?}"))
        }
    }
}
