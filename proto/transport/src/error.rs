//! What can be wrong with certificates and keys, said so that it can be put right.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why there are no certificates.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {wanted}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Each file is well, and they do not go together.
    #[error("{path} cannot be used: {problem}")]
    Unusable {
        /// The first of the files.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The system has no certificates of public authorities.
    #[error("the system has no certificates of authorities; name a file of your own")]
    NoSystemAuthorities,
}
