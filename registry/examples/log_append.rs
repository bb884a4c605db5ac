//! How many entries of 200 bytes the log makes durable, by batch size, with purging as under snapshots.
//!
//! `cargo run --release -p rollcall-registry --example log_append [SECONDS [FOLDER]]`

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::Context;
use rollcall_registry::storage::{DataDir, LogBackend, SledLog, StoredEntry, StoredLogId};

const ENTRY_BYTES: usize = 200;
const KEPT_ENTRIES: u64 = 20_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let seconds =
        env::args().nth(1).map_or(Ok(4), |argument| argument.parse()).context("SECONDS is a number")?;
    let parent = env::args().nth(2).map_or_else(env::temp_dir, PathBuf::from);
    println!(
        "{:>6} {:>12} {:>12} {:>9} {:>9} {:>9} {:>9}",
        "batch", "appends/s", "entries/s", "p50", "p99", "RSS", "disk"
    );
    for in_flight in [1, 2] {
        println!("{in_flight} in flight");
        for batch in [1, 10, 100, 1_000] {
            let folder = tempfile::tempdir_in(&parent)?;
            measure(folder.path(), batch, in_flight, Duration::from_secs(seconds)).await?;
        }
    }
    Ok(())
}

async fn measure(folder: &Path, batch: u64, in_flight: usize, time: Duration) -> anyhow::Result<()> {
    let log = SledLog::open(&DataDir::open(folder, "bench")?)?;
    let content = bytes::Bytes::from(vec![7; ENTRY_BYTES]);
    let (sender, latencies) = mpsc::channel();
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(in_flight));
    let began = Instant::now();
    let (mut next, mut purged) = (0, 0);
    while began.elapsed() < time {
        let permit = std::sync::Arc::clone(&room).acquire_owned().await?;
        let entries = (next..next + batch).map(|index| entry(index, &content)).collect();
        next += batch;
        let (sender, asked) = (sender.clone(), Instant::now());
        let done = move |result: Result<(), _>| {
            let _ = sender.send(result.map(|()| asked.elapsed()));
            drop(permit);
        };
        log.append(entries, Box::new(done)).await?;
        if next - purged > 2 * KEPT_ENTRIES {
            purged = next - KEPT_ENTRIES;
            log.purge(entry(purged, &content).log_id).await?;
        }
    }
    let _all = room.acquire_many(in_flight as u32).await?;
    let elapsed = began.elapsed().as_secs_f64();
    drop(sender);
    let mut latencies: Vec<Duration> = latencies.iter().collect::<Result<_, _>>()?;
    latencies.sort_unstable();
    let percentile = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    println!(
        "{batch:>6} {:>12.0} {:>12.0} {:>9.0?} {:>9.0?} {:>5} MiB {:>5} MiB",
        latencies.len() as f64 / elapsed,
        next as f64 / elapsed,
        percentile(50),
        percentile(99),
        resident_mib()?,
        folder_bytes(folder)? >> 20,
    );
    log.close().await?;
    Ok(())
}

fn entry(index: u64, content: &bytes::Bytes) -> StoredEntry {
    StoredEntry { log_id: StoredLogId { term: 1, leader: 1, index }, bytes: content.clone() }
}

fn resident_mib() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    fs::read_dir(folder)?
        .map(|item| {
            let item = item?;
            if item.file_type()?.is_dir() { folder_bytes(&item.path()) } else { Ok(item.metadata()?.len()) }
        })
        .sum()
}
