//! `rollcall serve`: configuration, telemetry, start, signal, drain.

use clap::Args;
use rollcall_registry::Registry;

use super::CliError;
use crate::{
    config::{Environment, Layers, SettingFlags, Settings},
    lifecycle::{self, Ended, stop_on_signals},
    telemetry,
};

/// Run a node.
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
        if let Ended::Removed(reason) =
            Box::pin(lifecycle::serve::<Registry>(settings, metrics, stop)).await?
        {
            eprintln!("rollcall: {reason}");
        }
        Ok(())
    }
}
