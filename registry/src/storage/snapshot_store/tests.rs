//! Snapshots come back whole, or not at all.

use std::{
    fs,
    io::{Read, Write},
};

use super::*;

fn at(index: u64) -> StoredLogId {
    StoredLogId { term: 1, leader: 1, index }
}

fn write(store: &SnapshotStore, index: u64, body: &[u8]) -> SnapshotFile {
    let mut writer = store.begin().unwrap();
    writer.write_all(body).unwrap();
    writer.commit(at(index)).unwrap()
}

fn body(file: &SnapshotFile) -> Vec<u8> {
    let mut body = Vec::new();
    file.open().unwrap().read_to_end(&mut body).unwrap();
    body
}

fn files(dir: &DataDir) -> usize {
    fs::read_dir(dir.snapshots_path()).unwrap().count()
}

#[test]
fn the_newest_snapshot_comes_back_and_older_ones_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), "n1").unwrap();
    let store = SnapshotStore::open(&dir).unwrap();
    assert!(store.newest().is_none());
    write(&store, 9, b"nine");
    write(&store, 10, &vec![10; 100_000]);
    assert_eq!(files(&dir), 1);
    drop(store);

    let newest = SnapshotStore::open(&dir).unwrap().newest().unwrap();
    assert_eq!(newest.at(), at(10));
    assert_eq!(body(&newest), vec![10; 100_000]);
    assert_eq!(newest.body_bytes(), 100_000);
}

#[test]
fn a_late_older_snapshot_does_not_replace_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), "n1").unwrap();
    let store = SnapshotStore::open(&dir).unwrap();
    write(&store, 10, b"ten");
    write(&store, 9, b"nine");
    assert_eq!(store.newest().unwrap().at(), at(10));
    assert_eq!(files(&dir), 1);
}

#[test]
fn an_unfinished_snapshot_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), "n1").unwrap();
    let store = SnapshotStore::open(&dir).unwrap();
    write(&store, 9, b"nine");
    drop(store.begin().unwrap());
    assert_eq!(files(&dir), 1);
    fs::write(dir.snapshots_path().join("begun-7.tmp"), b"torn").unwrap();
    assert_eq!(body(&SnapshotStore::open(&dir).unwrap().newest().unwrap()), b"nine");
    assert_eq!(files(&dir), 1);
}

#[test]
fn a_flipped_byte_refuses_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), "n1").unwrap();
    let file = write(&SnapshotStore::open(&dir).unwrap(), 9, b"nine");
    let good = fs::read(file.path()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(file.path(), &bad).unwrap();
        let error = SnapshotStore::open(&dir).unwrap_err().to_string();
        assert!(error.contains("the snapshot of node n1 is damaged"), "byte {at}: {error}");
        assert!(error.contains("remove node n1 from the cluster"), "{error}");
    }
}

#[test]
fn a_snapshot_cut_short_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), "n1").unwrap();
    let file = write(&SnapshotStore::open(&dir).unwrap(), 9, b"nine");
    let good = fs::read(file.path()).unwrap();
    for length in 0..good.len() {
        fs::write(file.path(), &good[..length]).unwrap();
        assert!(matches!(SnapshotStore::open(&dir), Err(StorageError::Damaged(_))), "{length} bytes");
    }
}

#[test]
fn an_open_reader_outlives_the_snapshot_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let dir = DataDir::open(folder.path(), "n1").unwrap();
    let store = SnapshotStore::open(&dir).unwrap();
    let mut reader = write(&store, 9, b"nine").open().unwrap();
    write(&store, 10, b"ten");
    let mut body = Vec::new();
    reader.read_to_end(&mut body).unwrap();
    assert_eq!(body, b"nine");
}
