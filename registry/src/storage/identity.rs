//! The file `identity`: who this node is. What to do with it is decided elsewhere.

use std::{fs::File, io::Read};

use prost::Message;
use rollcall_proto::storage::NodeIdentity;

use super::{
    DataDir, StorageError, atomic_file,
    seal::{SealError, seal, unseal},
};
use crate::limits;

/// The format that this version writes.
pub const FORMAT: u32 = 1;

/// Reads the identity. `None`: the folder has none yet.
///
/// # Errors
/// If the file cannot be read, is damaged, or is of a format that this version does not know.
pub fn load(dir: &DataDir) -> Result<Option<NodeIdentity>, StorageError> {
    let path = dir.identity_path();
    let mut sealed = Vec::new();
    match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("open", &path)(error)),
        Ok(file) => file
            .take(limits::IDENTITY_BYTES)
            .read_to_end(&mut sealed)
            .map_err(StorageError::io("read", &path))?,
    };
    match unseal(FORMAT, &sealed)
        .and_then(|payload| NodeIdentity::decode(payload).map_err(|_| SealError::Payload))
    {
        Ok(identity) if identity.format > FORMAT => {
            Err(StorageError::UnknownFormat { path, found: identity.format, known: FORMAT })
        }
        Ok(identity) => Ok(Some(identity)),
        Err(SealError::Format(found)) => Err(StorageError::UnknownFormat { path, found, known: FORMAT }),
        Err(error) => {
            Err(dir.damaged("the identity", format!("in {}, {}", path.display(), error.describe())))
        }
    }
}

/// Replaces the identity; on disk when this returns. After a crash it is the old or the new one.
///
/// # Errors
/// If it cannot be written.
pub fn save(dir: &DataDir, identity: &NodeIdentity) -> Result<(), StorageError> {
    atomic_file::replace(&dir.identity_path(), &seal(FORMAT, &identity.encode_to_vec()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn identity() -> NodeIdentity {
        NodeIdentity {
            format: FORMAT,
            name: "n1".to_owned(),
            storage_id: vec![7; 16].into(),
            boot_counter: 3,
            ..NodeIdentity::default()
        }
    }

    #[test]
    fn an_identity_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path(), "n1").unwrap();
        assert!(load(&dir).unwrap().is_none());
        save(&dir, &identity()).unwrap();
        save(&dir, &identity()).unwrap();
        assert_eq!(load(&dir).unwrap(), Some(identity()));
    }

    #[test]
    fn a_flipped_byte_refuses_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path(), "n1").unwrap();
        save(&dir, &identity()).unwrap();
        let good = fs::read(dir.identity_path()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(dir.identity_path(), &bad).unwrap();
            let error = load(&dir).unwrap_err().to_string();
            assert!(error.contains("the identity of node n1 is damaged"), "{error}");
            assert!(error.contains("remove node n1 from the cluster"), "{error}");
        }
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(folder.path(), "n1").unwrap();
        fs::write(dir.identity_path(), seal(9, b"")).unwrap();
        assert!(matches!(load(&dir), Err(StorageError::UnknownFormat { found: 9, known: 1, .. })));
    }

    #[test]
    fn a_second_process_is_told_which_folder_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(&folder.path().join("data"), "n1").unwrap();
        let error = DataDir::open(&folder.path().join("data"), "n2").unwrap_err().to_string();
        assert!(error.contains("data is in use by another process"), "{error}");
        drop(first);
        DataDir::open(&folder.path().join("data"), "n1").unwrap();
    }

    #[test]
    fn the_folder_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let dir = DataDir::open(&folder.path().join("a").join("b"), "n1").unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
