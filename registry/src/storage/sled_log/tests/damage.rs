//! A torn end is cut; everything else that is damaged refuses to start and says what to do.

use std::{fs, path::Path};

use super::fixture::*;
use crate::storage::{
    DataDir, LogBackend, SledLog, StorageError, StoredEntry, StoredVote,
    keyspaces::{self, ChunkKey},
};

const VOTE: StoredVote = StoredVote { term: 3, node: 2, committed: true };

/// A log of 200 entries in chunks of ten, a vote, and a clean end.
async fn written(folder: &Folder) -> Vec<StoredEntry> {
    let log = folder.open().unwrap();
    log.save_vote(VOTE).await.unwrap();
    for start in (0..200).step_by(10) {
        append(&log, entries(3, start..start + 10)).await.unwrap();
    }
    log.close().await.unwrap();
    entries(3, 0..200)
}

fn flip(tree: &sled::Tree, key: &[u8]) {
    let mut value = tree.get(key).unwrap().unwrap().to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 1;
    tree.insert(key, value).unwrap();
}

fn chunk(index: u64) -> [u8; ChunkKey::BYTES] {
    ChunkKey::first_of(index).to_bytes()
}

fn refusal(folder: &Folder) -> String {
    let error = folder.open().unwrap_err();
    assert!(matches!(error, StorageError::Damaged(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("remove node n1 from the cluster and start it with an empty folder"), "{text}");
    text
}

/// As after a power cut: the mark is behind the log.
fn forget_mark(folder: &Folder) {
    fs::remove_file(folder.dir().mark_path()).unwrap();
}

#[tokio::test]
async fn a_flipped_byte_in_the_middle_refuses() {
    let folder = Folder::new();
    written(&folder).await;
    folder.with_tree(|tree| flip(tree, &chunk(100)));
    let text = refusal(&folder);
    assert!(text.contains("the log at index 100 of node n1 is damaged: its checksum is wrong"), "{text}");
    forget_mark(&folder);
    assert!(refusal(&folder).contains("good entries follow it"));
}

#[tokio::test]
async fn a_missing_chunk_in_the_middle_refuses() {
    let folder = Folder::new();
    written(&folder).await;
    folder.with_tree(|tree| drop(tree.remove(chunk(100)).unwrap()));
    assert!(refusal(&folder).contains("the log at index 100"));
    forget_mark(&folder);
    assert!(refusal(&folder).contains("good entries follow it"));
}

#[tokio::test]
async fn a_torn_end_is_cut() {
    let folder = Folder::new();
    written(&folder).await;
    folder.with_tree(|tree| [180, 190].iter().for_each(|&index| flip(tree, &chunk(index))));
    forget_mark(&folder);
    let log = folder.open().unwrap();
    assert_eq!(all(&log).await, entries(3, 0..180));
    append(&log, entries(4, 180..185)).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    assert_eq!(all(&folder.open().unwrap()).await, [entries(3, 0..180), entries(4, 180..185)].concat());
}

#[tokio::test]
async fn a_large_entry_that_is_half_there_is_a_torn_end() {
    let folder = Folder::new();
    written(&folder).await;
    let log = folder.open().unwrap();
    append(&log, vec![entry_of(3, 200, 50_000)]).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    folder.with_tree(|tree| {
        let key = ChunkKey { index: 200, part: 5 };
        tree.range(key.to_bytes()..=ChunkKey::last_of(200).to_bytes())
            .keys()
            .for_each(|key| drop(tree.remove(key.unwrap()).unwrap()));
    });
    assert!(refusal(&folder).contains("the entry was acknowledged"));
    forget_mark(&folder);
    assert_eq!(all(&folder.open().unwrap()).await, entries(3, 0..200));
}

#[tokio::test]
async fn an_end_that_was_acknowledged_is_no_torn_end() {
    let folder = Folder::new();
    written(&folder).await;
    folder.with_tree(|tree| flip(tree, &chunk(190)));
    assert!(refusal(&folder).contains("the entry was acknowledged"));
}

#[tokio::test]
async fn a_lost_end_is_noticed() {
    let folder = Folder::new();
    written(&folder).await;
    folder.with_tree(|tree| drop(tree.remove(chunk(190)).unwrap()));
    assert!(refusal(&folder).contains("the log at index 190"));
}

#[tokio::test]
async fn a_lost_log_folder_is_noticed() {
    let folder = Folder::new();
    written(&folder).await;
    fs::remove_dir_all(folder.dir().log_path()).unwrap();
    assert!(refusal(&folder).contains("were acknowledged"));
}

#[tokio::test]
async fn a_flipped_byte_in_the_vote_refuses() {
    for key in [keyspaces::VOTE, keyspaces::SEQUENCE] {
        let folder = Folder::new();
        written(&folder).await;
        folder.with_tree(|tree| flip(tree, key));
        assert!(refusal(&folder).contains("its checksum is wrong"));
    }
}

#[tokio::test]
async fn a_truncation_takes_back_what_the_mark_says() {
    let folder = Folder::new();
    written(&folder).await;
    let log = folder.open().unwrap();
    // The mark as a power cut right after the truncation leaves it: synced before the entries went.
    let mark = folder.folder.path().join("log.mark");
    log.truncate_after(Some(id(3, 50))).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let both_slots = fs::read(&mark).unwrap();
    for slot in [0, 4096] {
        let mut torn = both_slots.clone();
        torn[slot..slot + 28].fill(0);
        fs::write(&mark, &torn).unwrap();
        let log = folder.open().unwrap();
        assert_eq!(all(&log).await, entries(3, 0..51));
        log.close().await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

/// Whatever byte of the data file flips: the log refuses, or nothing acknowledged is missing.
#[tokio::test]
async fn a_flipped_byte_anywhere_in_the_file_never_loses_anything_silently() {
    let folder = Folder::new();
    let good = written(&folder).await;
    let used = fs::read(folder.dir().log_path().join("db")).unwrap();
    let positions: Vec<usize> = (0..used.len()).filter(|&at| used[at] != 0).collect();
    let (mut refused, mut harmless) = (0, 0);
    // The first is a control: a copy opens.
    let flips = positions.iter().step_by(positions.len() / 60 + 1).map(|&at| (at, 0x40));
    for (at, bits) in [(0, 0)].into_iter().chain(flips) {
        let broken = tempfile::tempdir().unwrap();
        copy(folder.folder.path(), broken.path());
        let mut bytes = used.clone();
        bytes[at] ^= bits;
        fs::write(broken.path().join("log").join("db"), &bytes).unwrap();
        match SledLog::open(&DataDir::open(broken.path(), "n1").unwrap()) {
            Ok(log) => {
                harmless += 1;
                assert_eq!(log.vote(), Some(VOTE), "byte {at}");
                assert_eq!(all(&log).await, good, "byte {at}");
            }
            Err(error) => {
                refused += 1;
                assert!(bits != 0 && matches!(error, StorageError::Damaged(_)), "byte {at}: {error}");
            }
        }
    }
    println!("{refused} flips refused, {harmless} copies without loss");
    assert!(refused > 0 && harmless > 0);
}
