//! Whose turn it is: connections beyond a rate wait in a line for each address, and addresses take turns. Pure: the clock is
//! given.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::Duration,
};

use tokio::time::Instant;

use crate::limits::{TURNS_BURST, TURNS_WAIT};

/// Lets so many through per second, and keeps those who come faster for a while.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    /// From one to the next.
    pause: Duration,
    /// How many may wait at once.
    most: usize,
    /// When the next one may go.
    due: Instant,
    /// Never empty ones.
    lines: HashMap<IpAddr, VecDeque<T>>,
    /// Whose turn it is, each line once.
    order: VecDeque<IpAddr>,
    waiting: usize,
}

impl<T> Turns<T> {
    /// Nobody waits.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = per_second.max(1);
        Self {
            pause: Duration::from_secs(1) / per_second,
            most: (per_second as usize * TURNS_WAIT.as_secs() as usize).max(1),
            due: now,
            lines: HashMap::new(),
            order: VecDeque::new(),
            waiting: 0,
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// When the next one may go; `None`: nobody waits.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        (self.waiting > 0).then_some(self.due)
    }

    /// Somebody comes. Returns who has to go because too many wait: who is last in a line that is longer than the
    /// newcomer's, or the newcomer.
    pub(crate) fn join(&mut self, address: IpAddr, one: T) -> Option<T> {
        let crowded_out = if self.waiting < self.most {
            None
        } else {
            let own = self.lines.get(&address).map_or(0, VecDeque::len);
            match self.longest().filter(|(_, length)| *length > own + 1) {
                None => return Some(one),
                Some((longest, _)) => self.lines.get_mut(&longest).and_then(VecDeque::pop_back),
            }
        };
        self.waiting += usize::from(crowded_out.is_none());
        let line = self.lines.entry(address).or_default();
        if line.is_empty() {
            self.order.push_back(address);
        }
        line.push_back(one);
        crowded_out
    }

    fn longest(&self) -> Option<(IpAddr, usize)> {
        self.lines.iter().map(|(address, line)| (*address, line.len())).max_by_key(|(_, length)| *length)
    }

    /// Whose turn it is now; `None`: nobody's yet.
    pub(crate) fn take(&mut self, now: Instant) -> Option<T> {
        if self.due > now {
            return None;
        }
        let address = self.order.pop_front()?;
        let line = self.lines.get_mut(&address)?;
        let one = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&address);
        } else {
            self.order.push_back(address);
        }
        self.waiting -= 1;
        let earliest = now.checked_sub(TURNS_BURST).unwrap_or(now);
        self.due = self.due.max(earliest) + self.pause;
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn all<T>(turns: &mut Turns<T>, now: Instant) -> Vec<T> {
        std::iter::from_fn(|| turns.take(now)).collect()
    }

    #[test]
    fn the_few_behind_one_address_do_not_wait_for_the_crowd_behind_another() {
        let now = Instant::now();
        let mut turns = Turns::new(100, now);
        (0..50).for_each(|number| assert_eq!(turns.join(address(1), number), None));
        (100..102).for_each(|number| assert_eq!(turns.join(address(2), number), None));
        let took: Vec<_> =
            (1..=6).filter_map(|second| turns.take(now + Duration::from_secs(second))).collect();
        assert_eq!(took, [0, 100, 1, 101, 2, 3]);
    }

    #[test]
    fn where_too_many_wait_the_last_of_the_longest_line_goes() {
        let now = Instant::now();
        let mut turns = Turns::new(1, now);
        "abc".chars().for_each(|one| assert_eq!(turns.join(address(1), one), None));
        assert_eq!(turns.join(address(1), 'd'), Some('d'), "no line is longer than its own");
        assert_eq!(turns.join(address(2), 'e'), Some('c'));
        assert_eq!(turns.join(address(3), 'f'), Some('b'));
        assert_eq!(turns.join(address(4), 'g'), Some('g'), "one each is fair");
        assert_eq!(turns.waiting(), 3);
    }

    #[test]
    fn after_a_quiet_time_no_more_than_a_moments_worth_goes_at_once() {
        let now = Instant::now();
        let mut turns = Turns::new(1_000, now);
        (0..100).for_each(|number| assert_eq!(turns.join(address(1), number), None));
        let later = now + Duration::from_secs(60);
        let at_once = all(&mut turns, later).len();
        assert_eq!(at_once, 1 + TURNS_BURST.as_millis() as usize);
        assert_eq!(turns.next_at(), Some(later + Duration::from_millis(1)));
    }

    proptest! {
        #[test]
        fn nobody_is_lost_the_rate_holds_and_no_line_goes_empty(
            rate in 1..500_u32, steps in prop::collection::vec((0..50_u64, 0..4_u8, 0..8_usize), 1..300),
        ) {
            let start = Instant::now();
            let (mut turns, mut now) = (Turns::new(rate, start), start);
            let (mut came, mut turned_away, mut went) = (0, 0, 0);
            for (pause_ms, from, takes) in steps {
                now += Duration::from_millis(pause_ms);
                came += 1;
                turned_away += usize::from(turns.join(address(from), came).is_some());
                went += (0..takes).filter(|_| turns.take(now).is_some()).count();
                prop_assert_eq!(turns.waiting(), came - turned_away - went);
                prop_assert!(turns.waiting() <= rate as usize * TURNS_WAIT.as_secs() as usize);
                prop_assert_eq!(turns.waiting(), turns.lines.values().map(VecDeque::len).sum::<usize>());
                prop_assert!(turns.lines.values().all(|line| !line.is_empty()));
                prop_assert_eq!(turns.order.len(), turns.lines.len());
            }
            let elapsed = (now - start + TURNS_BURST).as_secs_f64();
            prop_assert!(went as f64 <= f64::from(rate) * elapsed + 2.0, "{went} in {elapsed} s at {rate}");
        }
    }
}
