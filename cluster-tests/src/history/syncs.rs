//! A write that was made durable, as a trace of system calls shows it.

use std::time::Duration;

/// An `fdatasync` of a log's file that has ended. The time counts from the beginning of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRecord {
    /// The node that asked for it.
    pub node: String,
    /// When it ended.
    pub at: Duration,
}

impl SyncRecord {
    /// Reads a trace of `strace -f -y -ttt`, whose times count from the epoch; `begun` is when the run began, by the same
    /// clock.
    pub fn read_trace(node: &str, trace: &str, begun: Duration) -> Vec<Self> {
        let mut waiting: Vec<&str> = Vec::new();
        let mut syncs = Vec::new();
        for line in trace.lines() {
            let mut words = line.split_whitespace();
            let (Some(process), Some(time)) = (words.next(), words.next()) else { continue };
            let Some(time) = time.parse().ok().and_then(|time| Duration::try_from_secs_f64(time).ok()) else {
                continue;
            };
            let of_log = line.contains("sync(") && line.contains("/db>");
            let resumed = line.contains("sync resumed") && waiting.contains(&process);
            if of_log && line.contains("<unfinished") {
                waiting.push(process);
            } else if (of_log || resumed) && line.ends_with("= 0") {
                waiting.retain(|other| *other != process);
                syncs.push(Self { node: node.to_owned(), at: time.saturating_sub(begun) });
            }
        }
        syncs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
7 100.5 fdatasync(12</data/n1/log/db>) = 0
8 100.6 fdatasync(12</data/n1/log/db> <unfinished ...>
9 100.7 fdatasync(14</data/n1/log.mark>) = 0
8 100.8 <... fdatasync resumed>) = 0
7 100.9 fdatasync(12</data/n1/log/db>) = -1 EIO (Input/output error)
";

    #[test]
    fn only_syncs_of_the_log_that_ended_well_count() {
        let syncs = SyncRecord::read_trace("n1", TRACE, Duration::from_secs(100));
        let at: Vec<_> = syncs.iter().map(|sync| sync.at.as_millis()).collect();
        assert_eq!(at, [500, 800]);
    }
}
