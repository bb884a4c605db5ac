//! The file of a backup: magic (8 bytes), the manifest sealed as other small records are, the body.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;

use super::{BackupError, Flaw, Manifest, body::Hashing, manifest::FORMAT, survey::Survey};
use crate::{
    limits::BACKUP_MANIFEST_BYTES,
    model::snapshot::RestoreError,
    storage::{
        StorageError,
        seal::{SealError, seal, unseal},
    },
};

const MAGIC: &[u8; 8] = b"RCLLBKUP";
const SEAL_BYTES: usize = 12;

/// The beginning of a backup's file, up to its body.
pub(super) fn head(manifest: &Manifest) -> Bytes {
    [MAGIC.as_slice(), &seal(FORMAT, &manifest.to_proto().encode_to_vec())].concat().into()
}

/// A backup that was checked from end to end.
#[derive(Debug)]
pub struct BackupFile {
    path: PathBuf,
    manifest: Manifest,
    survey: Survey,
    file_bytes: u64,
}

impl BackupFile {
    /// Opens a backup and checks all of it: length, SHA-256, every record, and that there are as many as it says. Blocks.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] with what is wrong, or [`BackupError::Storage`] if it cannot be read or a newer version
    /// saved it.
    pub fn open(path: &Path) -> Result<Self, BackupError> {
        let damaged = |flaw| BackupError::Damaged { path: path.to_owned(), flaw };
        let mut file = BufReader::new(File::open(path).map_err(StorageError::io("open", path))?);
        let found = file.get_ref().metadata().map_err(StorageError::io("read", path))?.len();
        let (manifest, head_bytes) = match read_head(&mut file).map_err(StorageError::io("read", path))? {
            Ok(head) => head,
            Err(HeadError::Format(format)) => return Err(newer(path, format)),
            Err(HeadError::Flaw(flaw)) => return Err(damaged(flaw)),
        };
        if manifest.format() > FORMAT {
            return Err(newer(path, manifest.format()));
        }
        let expected = head_bytes.saturating_add(manifest.body_bytes());
        if found != expected {
            return Err(damaged(Flaw::Length { expected, found }));
        }
        let survey = check_body(&mut file, &manifest).map_err(damaged)?;
        Ok(Self { path: path.to_owned(), manifest, survey, file_bytes: found })
    }

    /// The same backup, after its file was given another name.
    #[must_use]
    pub fn moved_to(self, path: &Path) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    /// What it holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long it is.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    pub(super) fn survey(&self) -> &Survey {
        &self.survey
    }

    /// Its body once more.
    pub(super) fn body(&self) -> Result<BufReader<File>, BackupError> {
        let mut file = BufReader::new(File::open(&self.path).map_err(StorageError::io("open", &self.path))?);
        let head = read_head(&mut file).map_err(StorageError::io("read", &self.path))?;
        match head {
            Ok((manifest, _)) if manifest == self.manifest => Ok(file),
            Ok(_) | Err(_) => Err(BackupError::Damaged { path: self.path.clone(), flaw: Flaw::Checksum }),
        }
    }
}

fn newer(path: &Path, found: u32) -> BackupError {
    StorageError::UnknownFormat { path: path.to_owned(), found, known: FORMAT }.into()
}

enum HeadError {
    Flaw(Flaw),
    Format(u32),
}

impl From<Flaw> for HeadError {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

/// The manifest, and how many bytes lie before the body, at which the reader then stands.
fn read_head(file: &mut impl Read) -> io::Result<Result<(Manifest, u64), HeadError>> {
    let mut start = [0; MAGIC.len() + SEAL_BYTES];
    if !filled(file, &mut start)? || !start.starts_with(MAGIC) {
        return Ok(Err(Flaw::NoBackup.into()));
    }
    let mut sealed = start[MAGIC.len()..].to_vec();
    let length = u32::from_le_bytes([sealed[4], sealed[5], sealed[6], sealed[7]]) as usize;
    if length > BACKUP_MANIFEST_BYTES {
        return Ok(Err(Flaw::Head("its length is wrong".to_owned()).into()));
    }
    sealed.resize(SEAL_BYTES + length, 0);
    if !filled(file, &mut sealed[SEAL_BYTES..])? {
        return Ok(Err(Flaw::Head("it is cut".to_owned()).into()));
    }
    Ok(match unseal(FORMAT, &sealed) {
        Ok(payload) => match Manifest::decode(payload) {
            Ok(manifest) => Ok((manifest, (MAGIC.len() + sealed.len()) as u64)),
            Err(error) => Err(Flaw::Manifest(error).into()),
        },
        Err(SealError::Format(format)) => Err(HeadError::Format(format)),
        Err(error) => Err(Flaw::Head(error.describe()).into()),
    })
}

/// Whether there were as many bytes.
fn filled(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_body(file: &mut impl Read, manifest: &Manifest) -> Result<Survey, Flaw> {
    let mut body = BufReader::new(Hashing::new(file));
    let surveyed = Survey::of(&mut body);
    // A wrong checksum says more than the record that it broke.
    let mut body = body.into_inner();
    io::copy(&mut body, &mut io::sink()).map_err(RestoreError::Io)?;
    let (bytes, sha256) = body.finish();
    if bytes != manifest.body_bytes() {
        return Err(Flaw::Length { expected: manifest.body_bytes(), found: bytes });
    }
    if sha256 != manifest.sha256() {
        return Err(Flaw::Checksum);
    }
    let survey = surveyed?;
    let said = manifest.to_proto();
    let counts = [
        ("records", survey.records, said.records),
        ("nodes", survey.nodes, said.nodes),
        ("devices", survey.devices, said.devices),
        ("sessions", survey.sessions, said.sessions),
    ];
    match counts.into_iter().find(|(_, found, said)| found != said) {
        Some((what, ..)) => Err(Flaw::Counts(what)),
        None => Ok(survey),
    }
}
