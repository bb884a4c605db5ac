//! A log that is killed at full write load keeps all that it acknowledged, without holes. The load comes from a process of
//! its own: this test program again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rollcall_registry::storage::{DataDir, LogBackend, SledLog, StoredEntry, StoredLogId, StoredVote};

const FOLDER: &str = "ROLLCALL_KILL_TEST_FOLDER";
const CYCLES: u32 = 12;
const KEPT_ENTRIES: u64 = 3_000;

fn entry(index: u64) -> StoredEntry {
    let bytes = if index.is_multiple_of(97) { 15_000 } else { 100 + (index % 150) as usize };
    let content: Vec<u8> = (0..bytes).map(|at| (at as u64 ^ index) as u8).collect();
    StoredEntry { log_id: StoredLogId { term: 1, leader: 1, index }, bytes: content.into() }
}

fn say(word: &str, number: u64) {
    // One line, written at once, so that a kill never leaves half a number that reads as another one.
    let _ = std::io::stdout().lock().write_all(format!("{word} {number} .\n").as_bytes());
}

/// The load: appends of changing size, with votes, purges and truncations, until it is killed. Says what is acknowledged.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn write_until_killed(folder: &Path) {
    let log = SledLog::open(&DataDir::open(folder, "n1").unwrap()).unwrap();
    for round in 1_u64.. {
        let next = log.state().next_index();
        let entries: Vec<StoredEntry> = (next..next + 1 + round * 7 % 120).map(entry).collect();
        let last = next + entries.len() as u64 - 1;
        let done = move |result: Result<(), _>| {
            result.unwrap();
            say("acknowledged", last);
        };
        log.append(entries, Box::new(done)).await.unwrap();
        if round.is_multiple_of(20) {
            let term = log.vote().map_or(0, |vote| vote.term) + 1;
            log.save_vote(StoredVote { term, node: 1, committed: true }).await.unwrap();
            say("voted", term);
        }
        if round.is_multiple_of(30) && last > KEPT_ENTRIES {
            let upto = entry(last - KEPT_ENTRIES).log_id;
            log.save_committed(Some(upto)).unwrap();
            say("purging", upto.index);
            log.purge(upto).await.unwrap();
        }
        if round.is_multiple_of(50) {
            // The vote is queued behind all appends: their acknowledgements are said before the truncation is.
            log.save_vote(log.vote().unwrap()).await.unwrap();
            say("truncating", last - 40);
            log.truncate_after(Some(entry(last - 40).log_id)).await.unwrap();
        }
    }
}

/// What the killed process had said.
#[derive(Debug, Default)]
struct Said {
    acknowledged: u64,
    voted: u64,
    purging: u64,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [word, number, "."] = words[..] else { return };
        let Ok(number) = number.parse() else { return };
        match word {
            "acknowledged" => self.acknowledged = number,
            "voted" => self.voted = number,
            "purging" => self.purging = number,
            "truncating" => self.acknowledged = self.acknowledged.min(number),
            _ => {}
        }
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_load_of_the_kill_test", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets the load run for a while, kills it with SIGKILL, and gives what it had said.
fn run_and_kill(folder: &Path, after: Duration) -> Said {
    let mut child = spawn(folder);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Said::default();
    let mut deadline = None;
    for line in lines.by_ref() {
        said.hear(&line.unwrap());
        if said.acknowledged > 0 && Instant::now() >= *deadline.get_or_insert_with(|| Instant::now() + after)
        {
            break;
        }
    }
    assert!(deadline.is_some(), "the load ended before it acknowledged anything");
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| said.hear(&line.unwrap()));
    said
}

async fn check(folder: &Path, said: &Said) {
    let log = SledLog::open(&DataDir::open(folder, "n1").unwrap()).unwrap();
    let state = log.state();
    assert!(state.next_index() > said.acknowledged, "{said:?}, but the log is {state:?}");
    assert!(
        state.first_index() <= said.purging.max(KEPT_ENTRIES * 100) + 1,
        "{said:?}, but the log is {state:?}"
    );
    assert!(
        log.vote().map_or(0, |vote| vote.term) >= said.voted,
        "{said:?}, but the vote is {:?}",
        log.vote()
    );
    let entries = log.read(0..u64::MAX, usize::MAX).await.unwrap();
    let expected: Vec<StoredEntry> = (state.first_index()..state.next_index()).map(entry).collect();
    assert_eq!(entries.len(), expected.len());
    assert!(entries == expected, "an entry is not what was written");
    log.close().await.unwrap();
}

#[test]
fn the_load_of_the_kill_test() {
    if let Some(folder) = env::var_os(FOLDER) {
        write_until_killed(Path::new(&folder));
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut acknowledged = 0;
    for cycle in 0..CYCLES {
        let said = run_and_kill(folder.path(), Duration::from_millis(60 + u64::from(cycle * 37 % 250)));
        runtime.block_on(check(folder.path(), &said));
        assert!(said.acknowledged > 0);
        acknowledged = said.acknowledged;
    }
    println!("{CYCLES} kills, {acknowledged} entries");
}
