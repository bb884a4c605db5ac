//! A log whose disk takes no more acknowledges nothing from then on, and keeps what it acknowledged before. The disk is
//! full for a process of its own: this test program again, under a limit on the size of files.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    env,
    io::Write,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use rollcall_registry::storage::{DataDir, LogBackend, SledLog, StoredEntry, StoredLogId};
use tokio::{sync::oneshot, time::timeout};

const FOLDER: &str = "ROLLCALL_FULL_DISK_TEST_FOLDER";
const PATIENCE: Duration = Duration::from_secs(20);

fn entry(index: u64) -> StoredEntry {
    StoredEntry { log_id: StoredLogId { term: 1, leader: 1, index }, bytes: vec![index as u8; 3_000].into() }
}

async fn append(log: &SledLog, index: u64) -> Result<(), String> {
    let (done, acknowledged) = oneshot::channel();
    let done = Box::new(move |result| drop(done.send(result)));
    log.append(vec![entry(index)], done).await.map_err(|error| error.to_string())?;
    let acknowledged = timeout(PATIENCE, acknowledged).await.expect("the append is answered");
    acknowledged.unwrap().map_err(|error| error.to_string())
}

#[tokio::main]
async fn write_until_full(folder: &Path) {
    let log = SledLog::open(&DataDir::open(folder, "n1").unwrap()).unwrap();
    for index in 0..100_000 {
        if let Err(refused) = append(&log, index).await {
            timeout(PATIENCE, log.poisoned()).await.expect("the store says that it is poisoned");
            for later in index..index + 5 {
                append(&log, later + 1).await.expect_err("nothing is acknowledged any more");
            }
            println!("\nrefused: {refused}\nend");
            return;
        }
        std::io::stdout().write_all(format!("acknowledged {index} .\n").as_bytes()).unwrap();
    }
}

#[test]
fn the_load_of_the_full_disk_test() {
    if let Some(folder) = env::var_os(FOLDER) {
        write_until_full(Path::new(&folder));
    }
}

fn run_with_full_disk(folder: &Path) -> Output {
    // With SIGXFSZ ignored, a write beyond the limit fails, as on a full disk.
    let program = env::current_exe().unwrap();
    Command::new("sh")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 6000; exec \"$0\" --exact the_load_of_the_full_disk_test --nocapture",
        ])
        .arg(program)
        .env(FOLDER, folder)
        .output()
        .unwrap()
}

#[tokio::test]
async fn a_full_disk_poisons_the_log_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_with_full_disk(folder.path());
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("\nend"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let refused = said.lines().find_map(|line| line.strip_prefix("refused: ")).unwrap();
    println!("{refused}");
    assert!(refused.contains("the log store has failed"), "{refused}");
    let mut acknowledged =
        said.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.strip_suffix(" ."));
    let last: u64 = acknowledged.next_back().unwrap().parse().unwrap();

    let log = SledLog::open(&DataDir::open(folder.path(), "n1").unwrap()).unwrap();
    let entries = log.read(0..last + 1, usize::MAX).await.unwrap();
    assert!(entries == (0..=last).map(entry).collect::<Vec<_>>(), "an acknowledged entry is missing");
    append(&log, log.state().next_index()).await.unwrap();
}
