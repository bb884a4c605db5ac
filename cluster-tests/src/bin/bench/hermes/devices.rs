//! 50 phones on two sites, each site a process: one stays well, the other is behind an access point that dies.

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use rollcall_agent::{Agent, AgentHandle, Call, HandlerError, Reply};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use super::tally;
use crate::{
    children::{Helper, commands, say},
    limits::{APP_RESTART, CALL_LASTS, LARGE_BYTES, PHONE_CAPACITY},
};

pub(super) const SIGN: &str = "sign";
pub(super) const BUSINESS: &str = "business";

/// The group of a site's phones.
pub(super) fn group(site: tally::Site) -> &'static str {
    match site {
        tally::Site::Well => "well",
        tally::Site::Behind => "behind",
    }
}

/// Both sites, running.
pub(super) struct Sites {
    _well: Helper,
    behind: Helper,
}

impl Sites {
    /// Starts them, and waits until all phones are attached.
    ///
    /// # Errors
    /// They are not.
    pub(super) async fn start(servers: &[String]) -> anyhow::Result<Self> {
        let mut sites = Vec::new();
        for (site, phones) in [("well", "30"), ("behind", "20")] {
            let mut helper = Helper::start(&["phones", site, phones, &servers.join(",")])?;
            helper.expect("attached").await?;
            sites.push(helper);
        }
        let behind = sites.pop().context("no site")?;
        Ok(Self { _well: sites.pop().context("no site")?, behind })
    }

    /// From now on nothing goes to or comes from the phones behind it; no connection is closed.
    ///
    /// # Errors
    /// The site has ended.
    pub(super) fn kill_access_point(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Everything goes on.
    ///
    /// # Errors
    /// The site has ended.
    pub(super) fn mend_access_point(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = self.behind.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        Ok(kill_process(pid.context("the site has ended")?, signal)?)
    }
}

/// Which phones.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Their group.
    site: Name,
    /// How many.
    count: usize,
    /// Where they attach; separated by commas.
    #[arg(value_delimiter = ',')]
    servers: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Well,
    Behind,
}

/// The child: attaches the phones, then restarts one app after the other until the parent is gone.
///
/// # Errors
/// A phone is not attached.
pub(crate) async fn serve(options: Options) -> anyhow::Result<()> {
    let large = Bytes::from(vec![b'x'; LARGE_BYTES]);
    let mut phones: Vec<AgentHandle> = (0..options.count).map(|at| phone(&options, at, &large)).collect();
    for phone in &phones {
        phone.attached().await?;
    }
    say("attached");
    let restarts = async {
        for at in (0..options.count).cycle() {
            sleep(APP_RESTART).await;
            // As an app that is killed: no goodbye, its calls are lost.
            drop(std::mem::replace(&mut phones[at], phone(&options, at, &large)));
        }
    };
    let parent_gone = async {
        let mut commands = commands();
        while let Ok(Some(_)) = commands.next_line().await {}
    };
    tokio::select! {
        () = restarts => {}
        () = parent_gone => {}
    }
    Ok(())
}

fn phone(options: &Options, at: usize, large: &Bytes) -> AgentHandle {
    let (site, large) = (
        match options.site {
            Name::Well => "well",
            Name::Behind => "behind",
        },
        large.clone(),
    );
    Agent::builder(options.servers.iter().cloned())
        .device(format!("{site}-{at}"))
        .group(site)
        .label("site", site)
        .capacity(PHONE_CAPACITY)
        .action(SIGN, |call: Call| async move { Ok::<_, HandlerError>(Reply::from(call.payload)) })
        .action(BUSINESS, move |_: Call| {
            let large = large.clone();
            async move {
                sleep(CALL_LASTS).await;
                Ok::<_, HandlerError>(Reply::from(large))
            }
        })
        .start()
}
