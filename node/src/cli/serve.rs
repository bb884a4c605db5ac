//! `rollcall serve`: configuration, telemetry, start, signal, drain.

use clap::Args;
use rollcall_registry::Registry;
use tokio::signal::unix::{SignalKind, signal};

use super::CliError;
use crate::{
    config::{ConfigError, Environment, Layers, SettingFlags, Settings, table},
    lifecycle::{self, Ended, stop_on_signals},
    telemetry,
};

/// Run a node.
///
/// SIGTERM and Ctrl-C drain it and end it with 0; a second one ends it at once. SIGHUP reads the settings again: `log_level`
/// is taken over, of the others it logs which need a restart.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    flags: SettingFlags,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let layers = Layers::gather(&self.flags, &Environment::of_process())?;
        let settings = Settings::from_layers(&layers)?;
        let log =
            telemetry::install_logging(&settings.log).map_err(|error| CliError::Io(error.to_string()))?;
        let metrics = telemetry::install_metrics().map_err(|error| CliError::Io(error.to_string()))?;
        tokio::spawn(telemetry::keep_up_metrics(metrics.clone(), Some(log.dropped_lines())));
        let stop = stop_on_signals()?;
        tokio::spawn(reload_on_hangup(self.flags, layers, signal(SignalKind::hangup())?));
        if let Ended::Removed(reason) =
            Box::pin(lifecycle::serve::<Registry>(settings, metrics, stop)).await?
        {
            eprintln!("rollcall: {reason}");
        }
        Ok(())
    }
}

/// Reads the settings again at each SIGHUP. Wrong ones change nothing.
async fn reload_on_hangup(flags: SettingFlags, started: Layers, mut hangups: tokio::signal::unix::Signal) {
    while hangups.recv().await.is_some() {
        match reload(&flags, &started) {
            Ok(need_restart) if need_restart.is_empty() => {
                tracing::info!(log_level = telemetry::log_filter(), "the settings were read again");
            }
            Ok(need_restart) => tracing::warn!(
                log_level = telemetry::log_filter(),
                need_restart = need_restart.join(", "),
                "the settings were read again; some changes need a restart"
            ),
            Err(error) => tracing::error!(%error, "the settings were not read again"),
        }
    }
}

/// The settings that have changed and that only a restart takes over.
fn reload(flags: &SettingFlags, started: &Layers) -> Result<Vec<&'static str>, ConfigError> {
    let layers = Layers::gather(flags, &Environment::of_process())?;
    let settings = Settings::from_layers(&layers)?;
    if let Err(error) = telemetry::set_log_filter(&settings.log.filter) {
        tracing::error!(%error, "log_level was not taken over");
    }
    let changed = table::ALL.iter().filter(|setting| layers.get(setting).text != started.get(setting).text);
    Ok(changed.map(|setting| setting.key).filter(|key| *key != table::LOG_LEVEL.key).collect())
}
