//! The rules as they are now, and the files and key sets that they are made from.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use rollcall_transport::Made;
use sha2::{Digest, Sha256};

use super::{
    file::{self, AccessError, Keys, Written},
    policy::Policy,
};
use crate::limits::ACCESS_FILE_BYTES;

/// The rules, made again when the file, a file that it names, or a fetched key set changes. A bad change leaves what
/// was there.
pub(super) struct Rules {
    path: PathBuf,
    /// What is stored in the cluster, instead of the file.
    stored: Mutex<Option<Arc<str>>>,
    current: ArcSwap<Policy>,
    /// Key sets that are behind a URL; none before the first fetch.
    urls: ArcSwap<Vec<Remote>>,
    fetched: Mutex<HashMap<String, Bytes>>,
    /// Of the contents that were looked at last: what is wrong is said once. Held while they are looked at.
    seen: Mutex<[u8; 32]>,
}

/// A key set that is behind a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) url: String,
    /// Whose server is trusted to show it; `None`: of the authorities that the system trusts.
    pub(super) ca: Option<PathBuf>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What was read in one look.
struct Look {
    written: Written,
    keys: Vec<Bytes>,
    urls: Vec<Remote>,
    digest: [u8; 32],
}

impl Rules {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// It cannot be read, or is not right.
    pub(super) fn load(path: PathBuf) -> Result<Self, AccessError> {
        let fetched = Mutex::default();
        let look = look(&path, &read(&path)?, &fetched)?;
        let policy = file::policy(look.written, &look.keys)?;
        Ok(Self {
            path,
            stored: Mutex::default(),
            current: ArcSwap::from_pointee(policy),
            urls: ArcSwap::from_pointee(look.urls),
            fetched,
            seen: Mutex::new(look.digest),
        })
    }

    /// From now on this text counts instead of the file, or the file again; at the next refresh.
    pub(super) fn store(&self, text: Option<Arc<str>>) {
        *self.stored.lock() = text;
    }

    /// The rules of a text, as they would be now. Reads the files that it names, beside the own file.
    ///
    /// # Errors
    /// It is not right.
    pub(super) fn check(&self, text: &str) -> Result<Policy, AccessError> {
        let look = look(&self.path, text.as_bytes(), &self.fetched)?;
        file::policy(look.written, &look.keys)
    }

    /// What holds now.
    pub(super) fn current(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// The key sets that are to be fetched.
    pub(super) fn urls(&self) -> Arc<Vec<Remote>> {
        self.urls.load_full()
    }

    /// A key set was fetched. Returns whether it is another one than before; it counts at the next refresh.
    pub(super) fn fetched(&self, url: &str, keys: Bytes) -> bool {
        self.fetched.lock().insert(url.to_owned(), keys.clone()).is_none_or(|before| before != keys)
    }

    /// Looks at everything, and makes the rules anew if something has changed. Reads from the disk.
    ///
    /// # Errors
    /// It is not right: what held before holds on. The same bad contents are an error once.
    pub(super) fn refresh(&self) -> Result<Made, AccessError> {
        let mut seen = self.seen.lock();
        let stored = self.stored.lock().clone();
        let text = stored.map_or_else(|| read(&self.path), |text| Ok(text.as_bytes().to_vec()))?;
        let look = match look(&self.path, &text, &self.fetched) {
            Ok(look) => look,
            Err(error) => {
                // What cannot be read may be there at the next look; what is malformed is said once.
                let found = Sha256::digest(&text).into();
                let is_new = std::mem::replace(&mut *seen, found) != found;
                return if is_new { Err(error) } else { Ok(Made::Same) };
            }
        };
        if *seen == look.digest {
            return Ok(Made::Same);
        }
        *seen = look.digest;
        let policy = file::policy(look.written, &look.keys)?;
        self.urls.store(Arc::new(look.urls));
        self.fetched.lock().retain(|url, _| self.urls.load().iter().any(|remote| remote.url == *url));
        self.current.store(Arc::new(policy));
        Ok(Made::Anew)
    }
}

fn look(path: &Path, text: &[u8], fetched: &Mutex<HashMap<String, Bytes>>) -> Result<Look, AccessError> {
    let written = file::read(text)?;
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let (mut keys, mut urls) = (Vec::new(), Vec::new());
    for issuer in &written.issuers {
        keys.push(match issuer.keys()? {
            Keys::File(name) => read(&folder.join(name))?.into(),
            Keys::Url(url) => {
                let ca = issuer.keys_ca.as_ref().map(|ca| folder.join(ca));
                urls.push(Remote { url: url.to_owned(), ca });
                fetched.lock().get(url).cloned().unwrap_or_default()
            }
        });
    }
    let mut hash = Sha256::new();
    for content in std::iter::once(text).chain(keys.iter().map(Bytes::as_ref)) {
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    Ok(Look { written, keys, urls, digest: hash.finalize().into() })
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    let unreadable = |cause| AccessError::Unreadable { path: path.to_owned(), cause };
    let mut contents = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(ACCESS_FILE_BYTES + 1).read_to_end(&mut contents).map_err(unreadable)?;
    if contents.len() as u64 > ACCESS_FILE_BYTES {
        return Err(unreadable(io::Error::other(format!("it is larger than {ACCESS_FILE_BYTES} bytes"))));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bad_change_leaves_what_was_there_and_is_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.toml");
        fs::write(&path, "").unwrap();
        let rules = Rules::load(path.clone()).unwrap();
        assert_eq!(rules.refresh().unwrap(), Made::Same);
        fs::write(&path, "nonsense = 1").unwrap();
        assert!(rules.refresh().is_err());
        assert_eq!(rules.refresh().unwrap(), Made::Same, "it was said");
        fs::write(&path, "[[tokens]]\nname = \"a\"\nsha256 = \"short\"").unwrap();
        assert!(rules.refresh().is_err());
        assert!(rules.current().tokens.is_empty());
        fs::write(&path, format!("[[tokens]]\nname = \"a\"\nsha256 = \"{}\"", "0a".repeat(32))).unwrap();
        assert_eq!(rules.refresh().unwrap(), Made::Anew);
        assert_eq!(rules.current().tokens[0].sha256, [10; 32]);
    }

    #[test]
    fn what_is_stored_counts_instead_of_the_file_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.toml");
        let token = |name: &str| format!("[[tokens]]\nname = \"{name}\"\nsha256 = \"{}\"", "0a".repeat(32));
        fs::write(&path, token("file")).unwrap();
        let rules = Rules::load(path.clone()).unwrap();
        let name = || rules.current().tokens[0].name.clone();
        rules.store(Some(token("stored").into()));
        assert_eq!((rules.refresh().unwrap(), name()), (Made::Anew, "stored".to_owned()));
        fs::write(&path, token("file, changed")).unwrap();
        assert_eq!((rules.refresh().unwrap(), name()), (Made::Same, "stored".to_owned()));
        rules.store(Some("nonsense".into()));
        assert!(rules.refresh().is_err());
        assert_eq!(name(), "stored");
        rules.store(None);
        assert_eq!((rules.refresh().unwrap(), name()), (Made::Anew, "file, changed".to_owned()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.toml");
        fs::write(&path, "").unwrap();
        let wrong = Rules::load(path).unwrap().check("[[roles]]\nname = \"a\"\nmember = []").unwrap_err();
        assert!(wrong.to_string().contains("line 3"), "{wrong}");
    }

    #[test]
    fn an_issuer_whose_keys_were_not_fetched_yet_is_there_and_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.toml");
        let issuer = |keys: &str| {
            format!("[[issuers]]\nname = \"a\"\nissuer = \"b\"\naudience = \"c\"\nkeys = \"{keys}\"")
        };
        fs::write(&path, issuer("https://issuer.test/keys")).unwrap();
        let rules = Rules::load(path.clone()).unwrap();
        assert_eq!(rules.urls()[0].url, "https://issuer.test/keys");
        assert!(rules.fetched("https://issuer.test/keys", Bytes::from_static(b"{\"keys\": []}")));
        assert!(rules.refresh().is_err(), "a set without a key is no key set");
        fs::write(&path, issuer("http://issuer.test/keys")).unwrap();
        assert!(rules.refresh().is_err(), "keys in plain text are anybody's");
        fs::write(&path, issuer("no-such-file.json")).unwrap();
        assert!(rules.refresh().is_err());
    }
}
