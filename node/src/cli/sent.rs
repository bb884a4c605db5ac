//! What a call carries, as the command line says it: the arguments that `rollcall invoke` and `rollcall broadcast` share.

use bytes::Bytes;
use clap::Args;
use tokio::io::AsyncReadExt;

use super::{CliError, words};

/// What devices are sent, and which of a group's may get it.
#[derive(Debug, Args)]
pub(super) struct Sent {
    /// The payload: text, @FILE, or - for stdin
    payload: Option<String>,
    /// The namespace of group and devices
    #[arg(long, default_value = "default")]
    pub(super) namespace: String,
    /// A label that a device must carry; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = words::key_value)]
    pub(super) labels: Vec<(String, String)>,
    /// Metadata for the device's handler; may be repeated
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = words::key_value)]
    pub(super) metadata: Vec<(String, String)>,
    /// The media type of the payload
    #[arg(long, value_name = "TYPE", default_value = "", hide_default_value = true)]
    pub(super) content_type: String,
}

impl Sent {
    /// The payload's bytes, read from where the argument says.
    pub(super) async fn payload(&self) -> Result<Bytes, CliError> {
        match self.payload.as_deref() {
            None => Ok(Bytes::new()),
            Some("-") => {
                let mut bytes = Vec::new();
                tokio::io::stdin().read_to_end(&mut bytes).await?;
                Ok(bytes.into())
            }
            Some(text) => match text.strip_prefix('@') {
                Some(path) => tokio::fs::read(path).await.map(Bytes::from).map_err(|error| {
                    CliError::Usage(format!("cannot read the payload from {path}: {error}"))
                }),
                None => Ok(Bytes::copy_from_slice(text.as_bytes())),
            },
        }
    }
}
