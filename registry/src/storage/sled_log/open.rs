//! Opens the log: makes its files durable, checks it, and starts its writer.

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use fs4::fs_std::FileExt;
use parking_lot::{Mutex, RwLock};

use super::{
    SledLog,
    check::{Checked, check},
    disk::{Disk, Staged},
    fault::Fault,
    mark::{Acknowledged, Mark},
    shared::{Committed, Shared},
    sync_file::SyncFile,
    window::Window,
    writer::Writer,
};
use crate::{
    limits,
    metrics::STORAGE_FSYNC_SECONDS,
    storage::{DataDir, StorageError, atomic_file, data_dir, keyspaces},
};

/// Opens the log. `wrap` gives what makes its data file durable: the file itself, or a test's stand-in.
pub(super) fn open(
    dir: &DataDir,
    wrap: impl FnOnce(File) -> Box<dyn SyncFile>,
) -> Result<SledLog, StorageError> {
    let path = dir.log_path();
    data_dir::create_inside(&path)?;
    let mark = Mark::open(&dir.mark_path())?;
    let (tree, checked) = guarded(dir, || open_and_check(dir, &path, mark.noted()))?;
    let data_path = path.join("db");
    let data_file = File::open(&data_path).map_err(StorageError::io("open", &data_path))?;
    make_durable(dir, &path)?;

    let removals = Arc::new(RwLock::new(()));
    let written = Acknowledged { sequence: checked.sequence, next_index: checked.state.next_index() };
    let disk = Disk {
        tree: tree.clone(),
        data_file: wrap(data_file),
        data_path,
        mark,
        removals: Arc::clone(&removals),
        fsync_seconds: metrics::histogram!(STORAGE_FSYNC_SECONDS),
        written,
        first: checked.first,
        // Whoever wrote the log may have ended before all that was purged was gone.
        swept_to: checked.begins,
        added: 0,
        staged: Staged::default(),
    };
    start(dir, tree, removals, disk, checked)
}

fn start(
    dir: &DataDir,
    tree: sled::Tree,
    removals: Arc<RwLock<()>>,
    mut disk: Disk,
    checked: Checked,
) -> Result<SledLog, StorageError> {
    disk.cut(&checked.torn)?;
    // What we read back must not vanish: a write that was not acknowledged may be in the page cache alone.
    disk.sync()?;
    let shared = Arc::new(Shared {
        dir: dir.clone(),
        tree,
        removals,
        window: RwLock::new(Window::new(checked.state, checked.first, checked.volume)),
        vote: RwLock::new(checked.vote),
        committed: Mutex::new(Committed::read_back(checked.committed)),
        fault: Fault::none(),
    });
    let (sender, requests) = mpsc::channel();
    let writer = Writer::new(disk, requests, Arc::clone(&shared));
    let ending = Arc::clone(&shared);
    thread::Builder::new()
        .name("rollcall-log".to_owned())
        .spawn(move || match catch_unwind(AssertUnwindSafe(|| writer.run())) {
            Ok(Some(farewell)) => {
                drop(ending);
                farewell.say();
            }
            Ok(None) => {}
            Err(_panic) => {
                drop(ending.fault.set(StorageError::Engine("the log's writer panicked".to_owned())))
            }
        })
        .map_err(StorageError::io("start the writer of", dir.path()))?;
    Ok(SledLog::new(shared, sender))
}

fn open_and_check(
    dir: &DataDir,
    path: &Path,
    acknowledged: Acknowledged,
) -> Result<(sled::Tree, Checked), StorageError> {
    wait_for_release(&path.join("db"));
    let db = sled::Config::default()
        .path(path)
        .cache_capacity(limits::LOG_CACHE_BYTES)
        .flush_every_ms(Some(500))
        .open()?;
    let tree = db.open_tree(keyspaces::TREE)?;
    let checked = check(dir, &tree, acknowledged)?;
    Ok((tree, checked))
}

/// Threads of sled hold its file a moment longer than its last handle. Our own lock says that they are of this process.
pub(super) fn wait_for_release(data_path: &Path) {
    let deadline = Instant::now() + limits::LOG_RELEASE_WAIT;
    while let Ok(file) = File::open(data_path) {
        // Closing the file gives the lock back. Whatever else is wrong, sled says it better.
        if !matches!(file.try_lock_exclusive(), Ok(false)) || Instant::now() >= deadline {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What sled cannot make sense of, it returns or panics about: either is damage.
fn guarded<T>(dir: &DataDir, open: impl FnOnce() -> Result<T, StorageError>) -> Result<T, StorageError> {
    match catch_unwind(AssertUnwindSafe(open)) {
        Ok(Err(StorageError::Engine(detail))) => {
            Err(dir.damaged("the log", format!("its engine says: {detail}")))
        }
        Ok(result) => result,
        Err(_panic) => {
            Err(dir.damaged("the log", "its engine panicked; its message is in the output".to_owned()))
        }
    }
}

/// sled syncs neither its settings nor the names of its files.
fn make_durable(dir: &DataDir, path: &Path) -> Result<(), StorageError> {
    let settings = path.join("conf");
    File::open(&settings).and_then(|file| file.sync_all()).map_err(StorageError::io("sync", &settings))?;
    atomic_file::sync_dir(path)?;
    atomic_file::sync_dir(dir.path())
}
