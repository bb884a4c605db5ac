//! An acknowledged open is not lost: what a connected device was told, every replica says.

use super::Violation;

const NAME: &str = "acknowledged_opens_kept";

/// What a node's replica says of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The node that was asked.
    pub by: String,
    /// The device.
    pub device_id: String,
    /// The epoch that the device was told last, if it is connected.
    pub told: Option<u64>,
    /// The epoch of the row, if it has a session.
    pub row: Option<u64>,
}

/// Every connected device has its row, and every row its device. To be asked when all has healed and caught up.
pub fn acknowledged_opens_kept(seen: &[Seen]) -> Vec<Violation> {
    let wrong = seen.iter().filter(|seen| seen.told != seen.row);
    wrong.map(|seen| Violation::of(NAME, format!("{seen:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(told: Option<u64>, row: Option<u64>) -> Seen {
        Seen { by: "n1".into(), device_id: "d".into(), told, row }
    }

    #[test]
    fn a_lost_row_an_older_row_and_a_row_without_a_device_are_found() {
        assert_eq!(acknowledged_opens_kept(&[seen(Some(1), Some(1)), seen(None, None)]), []);
        for wrong in [seen(Some(2), None), seen(Some(2), Some(1)), seen(None, Some(1))] {
            assert_eq!(acknowledged_opens_kept(&[wrong]).len(), 1);
        }
    }
}
