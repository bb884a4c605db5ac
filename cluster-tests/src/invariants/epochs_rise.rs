//! Epochs strictly rise per device, and no two sessions share one.

use std::collections::HashMap;

use super::Violation;
use crate::history::{OwnershipRecord, Sight};

const NAME: &str = "epochs_rise";

/// A device that is told of a session after another was over with its telling gets a higher epoch; and an epoch belongs
/// to one device. A resumed session is told again under its own epoch, which is not a new one.
pub fn epochs_rise(owners: &[OwnershipRecord]) -> Vec<Violation> {
    let mut given: HashMap<u64, &str> = HashMap::new();
    let mut found = Vec::new();
    for (at, record) in owners.iter().enumerate() {
        let Sight::Opened(epoch) = record.sight else { continue };
        let other = *given.entry(epoch).or_insert(&record.device_id);
        if other != record.device_id {
            let what = format!("{other} and {} were both given epoch {epoch}", record.device_id);
            found.push(Violation::of(NAME, what));
        }
        let fell = owners[..at].iter().find(|earlier| {
            let higher = matches!(earlier.sight, Sight::Opened(before) if before > epoch);
            higher && earlier.device_id == record.device_id && earlier.to <= record.from
        });
        if let Some(earlier) = fell {
            found.push(Violation::of(NAME, format!("{record:?} came after {earlier:?}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::sight;

    #[test]
    fn rising_and_resumed_epochs_are_well() {
        let owners = [1, 4, 4, 9].map(|epoch| sight(epoch, epoch, Sight::Opened(epoch)));
        assert_eq!(epochs_rise(&owners), []);
    }

    #[test]
    fn a_falling_epoch_is_found() {
        let owners = [sight(0, 1, Sight::Opened(7)), sight(2, 3, Sight::Opened(6))];
        assert_eq!(epochs_rise(&owners).len(), 1);
    }

    #[test]
    fn opens_that_overlap_may_be_told_in_any_order() {
        let owners = [sight(0, 5, Sight::Opened(7)), sight(2, 6, Sight::Opened(6))];
        assert_eq!(epochs_rise(&owners), []);
    }

    #[test]
    fn one_epoch_for_two_devices_is_found() {
        let other = OwnershipRecord { device_id: "e".into(), ..sight(2, 3, Sight::Opened(7)) };
        assert_eq!(epochs_rise(&[sight(0, 1, Sight::Opened(7)), other]).len(), 1);
    }
}
