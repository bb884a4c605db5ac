//! Which switches are on: read from a file by a thread of its own, so that nothing else waits for it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use super::{FILE_VARIABLE, Switch};

const READ_EVERY: Duration = Duration::from_millis(10);

static ON: AtomicU32 = AtomicU32::new(0);

/// The switches that are on, a bit each.
pub(super) fn current() -> u32 {
    static READER: OnceLock<()> = OnceLock::new();
    READER.get_or_init(start);
    ON.load(Ordering::Relaxed)
}

/// What the file says when this is first asked holds already for who asks.
fn start() {
    let Some(file) = env::var_os(FILE_VARIABLE).map(PathBuf::from) else { return };
    let mut last = None;
    read(&file, &mut last);
    let reader = thread::Builder::new().name("rollcall-faults".to_owned()).spawn(move || {
        loop {
            thread::sleep(READ_EVERY);
            read(&file, &mut last);
        }
    });
    if let Err(error) = reader {
        tracing::error!(%error, "faults cannot be switched");
    }
}

fn read(file: &Path, last: &mut Option<String>) {
    let Ok(text) = fs::read_to_string(file) else { return };
    if last.as_ref() == Some(&text) {
        return;
    }
    let known = |word: &str| Switch::ALL.into_iter().find(|switch| switch.word() == word);
    let on = text.split_whitespace().filter_map(known);
    let bits = on.clone().fold(0, |bits, switch| bits | 1 << switch as u32);
    ON.store(bits, Ordering::Relaxed);
    let understood: Vec<_> = on.map(Switch::word).collect();
    tracing::warn!(faults = understood.join(" "), "faults are switched");
    // Whoever waits for it says so if it does not come.
    let mut seen = file.as_os_str().to_owned();
    seen.push(".seen");
    let _ = fs::write(seen, understood.join(" "));
    *last = Some(text);
}
