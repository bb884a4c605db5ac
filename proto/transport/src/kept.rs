//! Something that is made from files, and made again when they change. A bad change leaves what was there.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::limits;

/// How something is made from files.
pub trait Source: Send + Sync + 'static {
    /// What is made.
    type Made: Send + Sync + 'static;
    /// Why it cannot be.
    type Error;

    /// The files, in the order in which [`Self::make`] takes their contents.
    fn files(&self) -> Vec<PathBuf>;

    /// Makes it.
    ///
    /// # Errors
    /// The contents are not right.
    fn make(&self, contents: &[Vec<u8>]) -> Result<Self::Made, Self::Error>;

    /// A file cannot be read.
    fn unreadable(path: PathBuf, cause: io::Error) -> Self::Error;
}

/// Whether a look at the files made anything anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// The files have not changed since the last look, good or bad.
    Same,
    /// They have, and what they say holds from now on.
    Anew,
}

/// What was made, and from what.
#[derive(Debug)]
pub struct Kept<S: Source> {
    source: S,
    current: ArcSwap<S::Made>,
    /// Of the contents that were looked at last: what is wrong is said once.
    seen: Mutex<[u8; 32]>,
}

impl<S: Source> Kept<S> {
    /// Makes it for the first time.
    ///
    /// # Errors
    /// A file cannot be read, or is not right.
    pub fn load(source: S) -> Result<Self, S::Error> {
        let contents = read_all::<S>(&source)?;
        let current = ArcSwap::from_pointee(source.make(&contents)?);
        Ok(Self { source, current, seen: Mutex::new(digest(&contents)) })
    }

    /// What holds now.
    pub fn current(&self) -> Arc<S::Made> {
        self.current.load_full()
    }

    /// What it is made from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Looks at the files, and makes it anew if they have changed. Reads from the disk: not for a runtime's threads.
    ///
    /// # Errors
    /// They cannot be read or are not right: what held before holds on. The same bad contents are an error once.
    pub fn refresh(&self) -> Result<Made, S::Error> {
        let contents = read_all::<S>(&self.source)?;
        let mut seen = self.seen.lock();
        let found = digest(&contents);
        if *seen == found {
            return Ok(Made::Same);
        }
        *seen = found;
        self.current.store(Arc::new(self.source.make(&contents)?));
        Ok(Made::Anew)
    }
}

fn read_all<S: Source>(source: &S) -> Result<Vec<Vec<u8>>, S::Error> {
    let read = |path: PathBuf| read(&path).map_err(|cause| S::unreadable(path, cause));
    source.files().into_iter().map(read).collect()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    let most = limits::FILE_BYTES;
    File::open(path)?.take(most + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > most {
        return Err(io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(contents)
}

fn digest(contents: &[Vec<u8>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Number(PathBuf);

    impl Source for Number {
        type Made = u32;
        type Error = String;

        fn files(&self) -> Vec<PathBuf> {
            vec![self.0.clone()]
        }

        fn make(&self, contents: &[Vec<u8>]) -> Result<u32, String> {
            String::from_utf8_lossy(&contents[0]).trim().parse().map_err(|_| "no number".to_owned())
        }

        fn unreadable(path: PathBuf, cause: io::Error) -> String {
            format!("{}: {cause}", path.display())
        }
    }

    #[test]
    fn a_bad_change_leaves_what_was_there_and_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, "1").unwrap();
        let kept = Kept::load(Number(path.clone())).unwrap();
        assert_eq!(kept.refresh(), Ok(Made::Same));
        fs::write(&path, "one").unwrap();
        assert_eq!(kept.refresh(), Err("no number".to_owned()));
        assert_eq!(kept.refresh(), Ok(Made::Same), "it was said");
        assert_eq!(*kept.current(), 1);
        fs::remove_file(&path).unwrap();
        assert!(kept.refresh().is_err());
        fs::write(&path, "2").unwrap();
        assert_eq!(kept.refresh(), Ok(Made::Anew));
        assert_eq!(*kept.current(), 2);
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs::write(&path, vec![b'1'; limits::FILE_BYTES as usize + 1]).unwrap();
        assert!(Kept::load(Number(path)).is_err());
    }
}
