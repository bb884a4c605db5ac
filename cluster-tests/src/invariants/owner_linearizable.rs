//! The owner of a device is linearizable for linearizable reads.

use std::{collections::BTreeMap, time::Duration};

use porcupine_rs::{CheckResult, Model, Operation, check_operations_timeout};

use super::Violation;
use crate::history::{OwnershipRecord, Sight};

const NAME: &str = "owner_linearizable";
/// The search over one device's history is given up after this long, and its verdict is then a violation of its own:
/// a history that cannot be judged is not a green one. Histories of runs take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// One device as a register: it holds the epoch of its newest session, or that session has ended.
///
/// A session may end by itself at any time, when its holder is lost. Reading that nobody holds the device is therefore
/// always possible; but a session that was read as ended never comes back, and an older one neither.
#[derive(Debug, Clone)]
struct Owner;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    epoch: u64,
    ended: bool,
}

impl Model for Owner {
    type State = Held;
    type Op = Sight;
    type Metadata = ();

    fn init() -> Held {
        Held { epoch: 0, ended: true }
    }

    fn step(held: &Held, sight: &Sight) -> (bool, Held) {
        match *sight {
            Sight::Opened(epoch) => (epoch > held.epoch, Held { epoch, ended: false }),
            Sight::Read(Some(epoch)) => (epoch == held.epoch && !held.ended, held.clone()),
            Sight::Read(None) => (true, Held { ended: true, ..held.clone() }),
            Sight::MaybeOpened => (true, held.clone()),
        }
    }
}

/// Each device's history is one that a single register could have given.
///
/// An epoch that was only read, never told, belongs to an open whose answer was lost: it happened at some time between
/// the first such open and the first read of it. If there was no such open, nobody ever asked for what was read.
pub fn owner_linearizable(owners: &[OwnershipRecord]) -> Vec<Violation> {
    let mut devices: BTreeMap<&str, Vec<&OwnershipRecord>> = BTreeMap::new();
    for record in owners {
        devices.entry(&record.device_id).or_default().push(record);
    }
    devices.into_iter().filter_map(|(device, records)| judge(device, &records)).collect()
}

fn judge(device: &str, records: &[&OwnershipRecord]) -> Option<Violation> {
    let mut history = told(records);
    for (epoch, read_by) in only_read(records) {
        let lost =
            records.iter().filter(|record| record.sight == Sight::MaybeOpened).map(|record| record.from);
        match lost.min() {
            Some(from) if from < read_by => history.push(operation(from, read_by, Sight::Opened(epoch))),
            Some(_) | None => {
                let what = format!("{device}: epoch {epoch} was read, and nobody had asked for a session");
                return Some(Violation::of(NAME, what));
            }
        }
    }
    match check_operations_timeout::<Owner>(&history, PATIENCE) {
        CheckResult::Ok => None,
        CheckResult::Illegal => Some(Violation::of(NAME, format!("{device}: no order explains {records:?}"))),
        CheckResult::Unknown => {
            Some(Violation::of(NAME, format!("{device}: not judged within {PATIENCE:?}")))
        }
    }
}

/// What was told and read. An epoch that was told again is a resumed session: the first telling is its open.
fn told(records: &[&OwnershipRecord]) -> Vec<Operation<Owner>> {
    let mut opened = Vec::new();
    let mut history = Vec::new();
    for record in records {
        match record.sight {
            Sight::MaybeOpened => continue,
            Sight::Opened(epoch) if opened.contains(&epoch) => continue,
            Sight::Opened(epoch) => opened.push(epoch),
            Sight::Read(_) => {}
        }
        history.push(operation(record.from, record.to, record.sight));
    }
    history
}

/// Epochs that were read and never told, each with the end of its first read.
fn only_read(records: &[&OwnershipRecord]) -> BTreeMap<u64, Duration> {
    let mut found = BTreeMap::new();
    for record in records {
        let Sight::Read(Some(epoch)) = record.sight else { continue };
        if !records.iter().any(|other| other.sight == Sight::Opened(epoch)) {
            let first = found.entry(epoch).or_insert(record.to);
            *first = record.to.min(*first);
        }
    }
    found
}

fn operation(from: Duration, to: Duration, op: Sight) -> Operation<Owner> {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    Operation { client_id: None, call_time: nanos(from), return_time: nanos(to), op, metadata: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::sight;

    #[test]
    fn opens_and_reads_in_order_are_well() {
        let history = [
            sight(0, 2, Sight::Opened(3)),
            sight(3, 4, Sight::Read(Some(3))),
            sight(5, 6, Sight::Read(None)),
            sight(5, 9, Sight::Opened(8)),
            sight(7, 8, Sight::Read(Some(8))),
        ];
        assert_eq!(owner_linearizable(&history), []);
    }

    #[test]
    fn a_read_of_an_older_owner_after_a_newer_one_is_found() {
        let history = [
            sight(0, 2, Sight::Opened(3)),
            sight(3, 4, Sight::Opened(8)),
            sight(5, 6, Sight::Read(Some(8))),
            sight(7, 8, Sight::Read(Some(3))),
        ];
        assert_eq!(owner_linearizable(&history).len(), 1);
    }

    #[test]
    fn a_stale_read_after_an_acknowledged_open_is_found() {
        let history =
            [sight(0, 2, Sight::Opened(3)), sight(3, 4, Sight::Opened(8)), sight(5, 6, Sight::Read(Some(3)))];
        assert_eq!(owner_linearizable(&history).len(), 1);
    }

    #[test]
    fn a_session_that_had_ended_and_is_back_is_found() {
        let history = [
            sight(0, 2, Sight::Opened(3)),
            sight(3, 4, Sight::Read(None)),
            sight(5, 6, Sight::Read(Some(3))),
        ];
        assert_eq!(owner_linearizable(&history).len(), 1);
    }

    #[test]
    fn an_open_whose_answer_was_lost_may_have_happened_or_not() {
        let lost = sight(0, 9, Sight::MaybeOpened);
        let told = sight(1, 2, Sight::Opened(3));
        assert_eq!(owner_linearizable(&[lost.clone(), told.clone(), sight(3, 4, Sight::Read(Some(3)))]), []);
        let seen = sight(3, 4, Sight::Read(Some(8)));
        assert_eq!(owner_linearizable(&[lost, told.clone(), seen.clone()]), []);
        assert_eq!(owner_linearizable(&[told, seen]).len(), 1, "nobody asked for 8");
    }

    #[test]
    fn devices_are_judged_apart() {
        let other = OwnershipRecord { device_id: "e".into(), ..sight(0, 1, Sight::Opened(9)) };
        assert_eq!(owner_linearizable(&[other, sight(3, 4, Sight::Opened(5))]), []);
    }
}
