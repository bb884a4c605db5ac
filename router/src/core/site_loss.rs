//! Sites whose devices are lost together: an access point or an uplink has died, and the rest is silent already.
//!
//! Each loss by itself takes two heartbeats to be noticed. Once half of a site was lost within a few seconds, the others
//! are doubted at once: they are asked for a sign of life, and get no calls until they have given it.

use std::time::Duration;

use compact_str::CompactString;
use hashbrown::HashMap;
use tokio::time::Instant;

use crate::limits;

/// What is known of the sites of this node's devices.
#[derive(Debug, Default)]
pub(crate) struct Sites {
    sites: HashMap<CompactString, Site>,
    lost: usize,
}

#[derive(Debug)]
struct Site {
    present: u32,
    /// Losses since `counted`.
    recent: u32,
    counted: Instant,
    loss: Option<Loss>,
}

#[derive(Debug, Clone, Copy)]
struct Loss {
    since: Instant,
    /// How many there were before.
    before: u32,
    /// The fewest that were left.
    left: u32,
}

/// What a lost device means for its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Alone,
    /// The site is lost from now on: its other devices are to be doubted.
    SiteLost,
}

impl Sites {
    /// A device of the site is here.
    pub(crate) fn arrived(&mut self, site: &str, now: Instant) {
        if let Some(known) = self.sites.get_mut(site) {
            known.present += 1;
            self.review(site, now);
        } else if self.sites.len() < limits::SITES {
            self.sites.insert(site.into(), Site { present: 1, recent: 0, counted: now, loss: None });
        }
    }

    /// A device of the site has gone as it was meant to.
    pub(crate) fn left(&mut self, site: &str, now: Instant) {
        let Some(known) = self.sites.get_mut(site) else { return };
        known.present = known.present.saturating_sub(1);
        self.review(site, now);
    }

    /// A device of the site was lost.
    pub(crate) fn lost(&mut self, site: &str, now: Instant) -> Verdict {
        let Some(known) = self.sites.get_mut(site) else { return Verdict::Alone };
        if now.saturating_duration_since(known.counted) > limits::SITE_LOSS_WINDOW {
            (known.recent, known.counted) = (0, now);
        }
        known.present = known.present.saturating_sub(1);
        known.recent += 1;
        let before = known.present + known.recent;
        let together = known.recent >= limits::SITE_LOSS_LEAST && known.recent * 2 >= before;
        if !together || known.loss.is_some() {
            self.review(site, now);
            return Verdict::Alone;
        }
        known.loss = Some(Loss { since: now, before, left: known.present });
        self.lost += 1;
        Verdict::SiteLost
    }

    /// Whether any site is lost: without, nothing else needs to be asked.
    pub(crate) fn any_lost(&self) -> bool {
        self.lost > 0
    }

    /// If the site is lost: when calls for it may come again.
    pub(crate) fn retry_after(&mut self, site: &str, now: Instant) -> Option<Duration> {
        self.review(site, now);
        self.sites.get(site)?.loss.map(|_| limits::SITE_RETRY_AFTER)
    }

    /// A loss is over when half of the missing devices are back, or have not come back for long.
    fn review(&mut self, site: &str, now: Instant) {
        let Some(known) = self.sites.get_mut(site) else { return };
        if let Some(loss) = &mut known.loss {
            loss.left = loss.left.min(known.present);
            let back = known.present * 2 >= loss.before + loss.left;
            if back || now.saturating_duration_since(loss.since) >= limits::SITE_LOSS_MOST {
                known.loss = None;
                known.recent = 0;
                self.lost -= 1;
            }
        }
        if known.present == 0 && known.loss.is_none() {
            self.sites.remove(site);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Effects of a script of inputs: `TIME arrive N`, `TIME lose N`, `TIME leave N`, `TIME ask`. Times in milliseconds.
    fn run(script: &str) -> String {
        let (start, mut sites, mut said) = (Instant::now(), Sites::default(), String::new());
        for line in script.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let now = start + Duration::from_millis(words[0].parse().expect("a time"));
            let count: u32 = words.get(2).map_or(1, |count| count.parse().expect("a number"));
            for _ in 0..count {
                match words[1] {
                    "arrive" => sites.arrived("hz1", now),
                    "leave" => sites.left("hz1", now),
                    "lose" if sites.lost("hz1", now) == Verdict::SiteLost => {
                        said += &format!("{} lost; ", words[0]);
                    }
                    "lose" => {}
                    "ask" => {
                        let word = if sites.retry_after("hz1", now).is_some() { "shed" } else { "open" };
                        said += &format!("{} {word}; ", words[0]);
                    }
                    _ => panic!("unknown input {line:?}"),
                }
            }
        }
        said
    }

    #[test]
    fn half_of_a_site_lost_together_dooms_the_rest_until_half_of_them_are_back() {
        let script =
            "0 arrive 40\n100000 lose 19\n101000 ask\n102000 lose 1\n102001 ask\n103000 lose 20\n104000 ask
                      110000 arrive 19\n110001 ask\n110002 arrive\n110003 ask";
        assert_eq!(
            run(script),
            "101000 open; 102000 lost; 102001 shed; 104000 shed; 110001 shed; 110003 open; "
        );
    }

    #[test]
    fn devices_lost_one_by_one_or_on_purpose_doom_nobody() {
        assert_eq!(run("0 arrive 40\n1000 leave 39\n1001 ask"), "1001 open; ");
        let slowly: String = (1..=40).map(|at| format!("\n{} lose", at * 2_000)).collect();
        assert_eq!(run(&format!("0 arrive 40{slowly}\n81000 ask")), "81000 open; ");
    }

    #[test]
    fn a_small_site_is_not_judged() {
        assert_eq!(run("0 arrive 4\n1 lose 4\n2 ask"), "2 open; ");
    }

    #[test]
    fn a_site_that_never_comes_back_is_forgotten() {
        assert_eq!(run("0 arrive 10\n1 lose 10\n29000 ask\n31000 ask"), "1 lost; 29000 shed; 31000 open; ");
    }

    proptest! {
        #[test]
        fn every_loss_ends_and_an_empty_table_is_left(
            steps in prop::collection::vec((0..2_000u64, 0..3u8, 0..3u8), 0..300),
        ) {
            let (mut sites, mut now) = (Sites::default(), Instant::now());
            let mut present = [0_u32; 3];
            for (pause, site, step) in steps {
                now += Duration::from_millis(pause);
                let (at, name) = (usize::from(site), ["a", "b", "c"][usize::from(site)]);
                match step {
                    0 => { sites.arrived(name, now); present[at] += 1; }
                    1 if present[at] > 0 => { sites.left(name, now); present[at] -= 1; }
                    2 if present[at] > 0 => { sites.lost(name, now); present[at] -= 1; }
                    _ => {}
                }
            }
            now += limits::SITE_LOSS_MOST;
            for (name, count) in ["a", "b", "c"].into_iter().zip(present) {
                (0..count).for_each(|_| sites.left(name, now));
                prop_assert_eq!(sites.retry_after(name, now), None);
            }
            prop_assert!(!sites.any_lost() && sites.sites.is_empty());
        }
    }
}
