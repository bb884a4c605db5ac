//! `rollcall cluster recover --unsafe`: a new cluster from what one survivor has.

use std::{
    io::{self, BufRead, Write},
    path::PathBuf,
};

use clap::{ArgAction, Args};
use rollcall_registry::{
    backup::{Loss, Survivor},
    model::ids::LogIndex,
};

use super::{
    CliError,
    output::{self, Output},
    snapshot::{blocking, print_new_cluster},
};

/// `rollcall cluster recover`.
#[derive(Debug, Args)]
pub struct Recover {
    /// Says that you know: what the survivor does not have is lost, though it was acknowledged
    #[arg(long = "unsafe", required = true, action = ArgAction::SetTrue)]
    is_unsafe: bool,
    /// The data folder of the survivor, which must not run
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    output: Output,
}

impl Recover {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let folder = self.data_dir.clone();
        let survivor = blocking(move || Survivor::examine(&folder)).await??;
        eprintln!("{}", in_words(survivor.loss()));
        if !self.yes && !blocking(confirmed).await?? {
            return Err(CliError::Io("not confirmed: nothing was changed".to_owned()));
        }
        let recovered = blocking(move || survivor.recover()).await??;
        print_new_cluster(&recovered, &self.data_dir.display().to_string(), self.output.output)
    }
}

fn in_words(loss: &Loss) -> String {
    let index = |at: Option<LogIndex>| at.map_or_else(|| "none".to_owned(), |index| index.to_string());
    let facts = output::facts([
        ("survivor", format!("{} (node {}) of cluster {}", loss.name, loss.node, loss.cluster)),
        ("last log entry", format!("{} (term {})", loss.last_log, loss.last_term)),
        ("committed", format!("{}, as far as it was noted", index(loss.committed))),
        ("applied on disk", index(loss.snapshot)),
        ("voters", loss.voters.join(", ")),
        ("given up", loss.lost_voters.join(", ")),
        ("devices", format!("{} known, {} connected", loss.devices, loss.sessions)),
    ]);
    format!(
        "{facts}\n\n\
         A new cluster is made from this. Lost for good is whatever the voters given up have acknowledged after entry {}.\n\
         Kept are entries up to it that may never have been acknowledged. All sessions end; devices connect anew.\n\
         The nodes given up can never come back with their folders. If any of them may still come back, wait for it instead.",
        loss.last_log
    )
}

/// Asks; whatever is not `yes` is no. Blocks.
fn confirmed() -> io::Result<bool> {
    eprint!("Type yes to go on: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
