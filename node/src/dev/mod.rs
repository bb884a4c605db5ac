//! `rollcall dev`: a cluster of three real nodes on this machine, with demo devices, to look at and to break.
//!
//! The nodes are processes of this very executable; the devices are agents of the library in this process. Nothing here
//! is used by `rollcall serve`.

mod children;
mod demo_devices;
mod follow;
mod formation;
mod guide;
mod interrupt;
mod layout;
mod limits;
mod picture;
mod terminal;
mod tour;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Args;
use tempfile::TempDir;

use self::{
    children::Children, demo_devices::DemoDevices, interrupt::Interrupt, layout::Layout, terminal::Terminal,
};

/// What `rollcall dev` takes.
#[derive(Debug, Clone, Default, Args)]
pub struct DevArgs {
    /// Do it all on free ports and in a temporary folder, then stop: exit code 0, or 1 with the reason.
    #[arg(long)]
    pub check: bool,
    /// Keep the nodes' data in this folder; started again with it, the cluster goes on [default: a temporary folder].
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<PathBuf>,
}

/// Runs the cluster until Ctrl-C or SIGTERM, or, with `check`, until it has been shown to work.
///
/// The exit code is 0 after a clean stop. With `check` it is 1 if something did not work; the reason and the ends of the
/// nodes' logs are then on stderr.
///
/// # Errors
/// The cluster could not be started: no ports, no disk, or it did not become ready.
pub async fn run(args: DevArgs) -> anyhow::Result<ExitCode> {
    let terminal = Terminal::of_stdout();
    let layout =
        if args.check { Layout::on_free_ports()? } else { Layout::on_usual_ports(&args, &terminal)? };
    let home = Home::open(args.data_dir.as_deref())?;
    terminal.say(format!("three nodes on this machine; data and logs in {}", home.path().display()));
    // Caught before the first process starts: none is left behind.
    let mut interrupt = Interrupt::catch()?;
    let mut children = Children::start(&layout, home.path())?;
    terminal.say(format!("started {}", children.pids()));

    let shown = tokio::select! {
        shown = show(&args, &layout, &mut children, &terminal) => shown.map(Some),
        () = interrupt.caught() => Ok(None),
    };
    let ended = match shown {
        Ok(Some(devices)) => {
            if !args.check {
                tokio::select! {
                    () = follow::forever(&layout, &mut children, &devices, &terminal) => {}
                    () = interrupt.caught() => {}
                }
            }
            devices.shutdown().await;
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) if args.check => Ok(ExitCode::from(INTERRUPTED)),
        Ok(None) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    };
    children.stop(&terminal).await;
    ended.or_else(|error| {
        eprintln!("rollcall dev: {error:#}");
        eprint!("{}", children.log_tails());
        eprintln!("all of it is in {}", home.keep().display());
        Ok(ExitCode::FAILURE)
    })
}

/// The exit code of a check that was interrupted, as shells count it.
const INTERRUPTED: u8 = 130;

/// Forms the cluster, attaches the devices, calls them, and shows it all.
async fn show(
    args: &DevArgs,
    layout: &Layout,
    children: &mut Children,
    terminal: &Terminal,
) -> anyhow::Result<DemoDevices> {
    formation::wait(layout, children, terminal).await?;
    let devices = DemoDevices::attach(layout, terminal).await?;
    let overview = picture::look(layout).await?;
    terminal.show(&picture::nodes(&overview, layout, children, terminal));
    terminal.show(&picture::devices(&overview, terminal));
    let calls = tour::call_through_every_node(layout, &overview).await?;
    terminal.show(&picture::calls(&calls, terminal));
    if args.check {
        terminal.show("\n");
        terminal.say("all of it works".to_owned());
    } else {
        terminal.show(&guide::text(layout, children, terminal)?);
    }
    Ok(devices)
}

/// Where the nodes' data and logs are: the user's folder, or one of our own that is removed at the end.
enum Home {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Home {
    fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = given else {
            let folder = tempfile::Builder::new().prefix("rollcall-dev-").tempdir();
            return Ok(Self::Temporary(folder.context("cannot make a temporary folder")?));
        };
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self::Given(path.canonicalize()?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn keep(self) -> PathBuf {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.keep(),
        }
    }
}
