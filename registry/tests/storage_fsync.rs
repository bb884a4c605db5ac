//! What the log acknowledges is on disk: a trace of its system calls shows an fdatasync of the log's file, begun after the write was
//! asked for and ended well before it was acknowledged. The traced process is this test program again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use rollcall_registry::storage::{DataDir, LogBackend, SledLog, StoredEntry, StoredLogId, StoredVote};
use tokio::sync::oneshot;

const FOLDER: &str = "ROLLCALL_FSYNC_TEST_FOLDER";
const WRITER: &str = "ROLLCALL_FSYNC_TEST_WRITER";
const APPENDS: u64 = 40;
const VOTES: u64 = 10;

/// A line of its own system call, to be found in the trace.
fn say(word: &str, number: u64) {
    std::io::stdout().write_all(format!("{word} {number} .\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn write_to_the_log(folder: &Path) {
    let log = SledLog::open(&DataDir::open(folder, "n1").unwrap()).unwrap();
    for index in 0..APPENDS {
        let entry = |index| StoredEntry {
            log_id: StoredLogId { term: 1, leader: 1, index },
            bytes: vec![index as u8; 200].into(),
        };
        let (done, acknowledged) = oneshot::channel();
        say("asked", index);
        let done = Box::new(move |result: Result<(), _>| {
            result.unwrap();
            say("acknowledged", index);
            done.send(()).unwrap();
        });
        log.append(vec![entry(index)], done).await.unwrap();
        acknowledged.await.unwrap();
    }
    for term in APPENDS..APPENDS + VOTES {
        say("asked", term);
        log.save_vote(StoredVote { term, node: 1, committed: true }).await.unwrap();
        say("acknowledged", term);
    }
    log.close().await.unwrap();
}

/// A log that forgets to sync: the trace must show it.
fn write_and_forget(folder: &Path) {
    let mut file = fs::File::create(folder.join("db")).unwrap();
    file.sync_data().unwrap();
    for index in 0..APPENDS {
        say("asked", index);
        file.write_all(&[0; 200]).unwrap();
        say("acknowledged", index);
    }
}

#[test]
fn the_load_of_the_fsync_test() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    match env::var(WRITER).as_deref() {
        Ok("forgetful") => write_and_forget(Path::new(&folder)),
        _ => write_to_the_log(Path::new(&folder)),
    }
}

/// The trace of a writer's system calls; `None`: nothing can be traced here.
fn traced(writer: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-y",
        "-qq",
        "-s",
        "64",
        "-e",
        "trace=write,fdatasync,fsync",
        "-e",
        "signal=none",
        "-o",
    ]);
    strace.arg(&trace).arg(env::current_exe().unwrap());
    strace.args(["--exact", "the_load_of_the_fsync_test", "--nocapture"]);
    strace.env(FOLDER, folder.path().join("data")).env(WRITER, writer).stdout(Stdio::null());
    fs::create_dir(folder.path().join("data")).unwrap();
    let ran = match strace.output() {
        Ok(ran) => ran,
        Err(error) => {
            eprintln!("NOT RUN: strace cannot be started: {error}");
            return None;
        }
    };
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    if said.contains("ptrace") && said.contains("not permitted") {
        eprintln!("NOT RUN: tracing is not permitted here: {said}");
        return None;
    }
    assert!(ran.status.success(), "{said}");
    Some(fs::read_to_string(trace).unwrap())
}

/// Where a sync of the log's file began and ended, by line.
struct Sync {
    begun: usize,
    ended: usize,
}

fn is_of_log(call: &str) -> bool {
    ["fdatasync(", "fsync("].iter().any(|name| call.starts_with(name)) && call.contains("/db>")
}

fn syncs(trace: &str) -> Vec<Sync> {
    let mut begun: HashMap<&str, usize> = HashMap::new();
    let mut syncs = Vec::new();
    for (number, line) in trace.lines().enumerate() {
        let Some((process, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if is_of_log(call) && call.contains("<unfinished") {
            begun.insert(process, number);
        } else if is_of_log(call) && call.ends_with("= 0") {
            syncs.push(Sync { begun: number, ended: number });
        } else if call.starts_with("<...") && call.contains("sync resumed") && call.ends_with("= 0") {
            syncs.extend(begun.remove(process).map(|begun| Sync { begun, ended: number }));
        }
    }
    syncs
}

/// Numbers by the line where they were said. A write that another call interrupts counts from where it begins.
fn said(trace: &str, word: &str) -> HashMap<u64, usize> {
    let heard = |(line, text): (usize, &str)| {
        let (_, rest) = text.split_once(&format!("\"{word} "))?;
        Some((rest.split(' ').next()?.parse().ok()?, line))
    };
    trace.lines().enumerate().filter(|(_, text)| text.contains("write(1<")).filter_map(heard).collect()
}

/// The writes that were acknowledged, or the first one that was not synced before.
fn check(trace: &str) -> Result<usize, u64> {
    let (asked, acknowledged, syncs) = (said(trace, "asked"), said(trace, "acknowledged"), syncs(trace));
    let mut numbers: Vec<u64> = acknowledged.keys().copied().collect();
    numbers.sort_unstable();
    let synced = |number: &u64| {
        syncs.iter().any(|sync| sync.begun > asked[number] && sync.ended < acknowledged[number])
    };
    match numbers.iter().find(|number| !synced(number)) {
        Some(number) => Err(*number),
        None => Ok(numbers.len()),
    }
}

#[test]
fn every_acknowledged_write_was_synced_before() {
    let Some(trace) = traced("log") else { return };
    assert_eq!(check(&trace), Ok((APPENDS + VOTES) as usize), "in this trace:\n{trace}");
}

#[test]
fn a_log_that_forgets_to_sync_is_found_out() {
    let Some(trace) = traced("forgetful") else { return };
    assert_eq!(check(&trace), Err(0), "in this trace:\n{trace}");
}
