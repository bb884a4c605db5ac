//! The process' own metrics, by the names that Prometheus' client libraries give them. From Linux' /proc; elsewhere most
//! are missing.

use std::{fs, path::Path, time::SystemTime};

use metrics::{counter, gauge};
use rustix::{
    fs::statvfs,
    process::{Resource, getrlimit},
};

use super::metric_names::*;

/// What the kernel counts CPU time in: `USER_HZ`, which is part of Linux' interface and 100 on every machine.
const TICKS_PER_SECOND: u64 = 100;

/// Shows when this process began: now, for all that matters.
pub fn show_start() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    gauge!(PROCESS_START).set(since.as_secs_f64());
}

/// Shows the process, the runtime that this is called in, and the data folder's disk.
pub fn show(data_dir: &Path) {
    if let Some(memory) = fs::read_to_string("/proc/self/status").ok().as_deref().map(Status::read) {
        gauge!(PROCESS_RESIDENT).set(memory.resident_bytes as f64);
        gauge!(PROCESS_VIRTUAL).set(memory.virtual_bytes as f64);
        gauge!(PROCESS_THREADS).set(memory.threads as f64);
    }
    if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
        counter!(PROCESS_CPU).absolute(ticks / TICKS_PER_SECOND);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        gauge!(PROCESS_OPEN_FDS).set(open.count() as f64);
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        gauge!(PROCESS_MAX_FDS).set(limit as f64);
    }
    if let Ok(space) = statvfs(data_dir) {
        gauge!(DISK_FREE).set(space.f_bavail.saturating_mul(space.f_frsize) as f64);
        gauge!(DISK_SIZE).set(space.f_blocks.saturating_mul(space.f_frsize) as f64);
    }
    let runtime = tokio::runtime::Handle::current().metrics();
    gauge!(RUNTIME_TASKS).set(runtime.num_alive_tasks() as f64);
    gauge!(RUNTIME_QUEUED).set(runtime.global_queue_depth() as f64);
}

/// What is read of `/proc/self/status`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
}

impl Status {
    fn read(text: &str) -> Self {
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let kibibytes = |key| number(key).unwrap_or_default().saturating_mul(1024);
        Self {
            resident_bytes: kibibytes("VmRSS:"),
            virtual_bytes: kibibytes("VmSize:"),
            threads: number("Threads:").unwrap_or_default(),
        }
    }
}

/// User and system time out of `/proc/self/stat`; the name before them may hold spaces and brackets.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    user.checked_add(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 250 30 0 0 20 0 9 0 1 1 1";
        assert_eq!(cpu_ticks(stat), Some(280));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn memory_and_threads_are_read() {
        let text = "Name:\tx\nVmSize:\t    2000 kB\nVmRSS:\t    1000 kB\nThreads:\t9\n";
        let status = Status { resident_bytes: 1_024_000, virtual_bytes: 2_048_000, threads: 9 };
        assert_eq!(Status::read(text), status);
    }
}
