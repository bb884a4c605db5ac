//! Looks at the certificates now and then, and at once after SIGHUP; tells when they end.

use std::{io, sync::Arc, time::UNIX_EPOCH};

use metrics::{counter, gauge};
use rollcall_transport::{Made, ServerTls};
use tokio::{
    signal::unix::{SignalKind, signal},
    time,
};
use tokio_util::sync::CancellationToken;

use super::Certificates;
use crate::{access::AccessControl, limits::CERTIFICATES_INTERVAL, telemetry::metric_names};

impl Certificates {
    /// Reads changed files again, until `stop`. Connections that are open stay as they are.
    ///
    /// # Errors
    /// The signal's handler cannot be installed.
    pub(crate) fn keep_fresh(self, access: AccessControl, stop: CancellationToken) -> io::Result<()> {
        let mut hangups = signal(SignalKind::hangup())?;
        self.show();
        tokio::spawn(access.clone().keep_fetching(stop.clone()));
        tokio::spawn(async move {
            let mut ticks = time::interval(CERTIFICATES_INTERVAL);
            ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = access.fetched() => {}
                    _ = hangups.recv() => tracing::info!("SIGHUP: looking at all files"),
                    () = stop.cancelled() => return,
                }
                let (certificates, access) = (self.clone(), access.clone());
                // A look that panics is the last; the metric of the end then stands still.
                let _ = tokio::task::spawn_blocking(move || {
                    certificates.refresh();
                    refresh_access(&access);
                })
                .await;
            }
        });
        Ok(())
    }

    fn refresh(&self) {
        for (listener, tls) in self.all() {
            refresh(listener, tls);
        }
        self.show();
    }

    fn show(&self) {
        for (listener, tls) in self.all() {
            let ends = tls.current().expires().duration_since(UNIX_EPOCH).unwrap_or_default();
            gauge!(metric_names::CERTIFICATE_EXPIRY, "listener" => listener).set(ends.as_secs_f64());
        }
    }
}

/// Makes the rules anew if what they are made from has changed. Reads from the disk.
pub(crate) fn refresh_access(access: &AccessControl) {
    let result = match access.refresh() {
        Ok(Made::Same) => return,
        Ok(Made::Anew) => {
            tracing::info!(target: "audit", "the rules of who may do what have changed");
            "done"
        }
        Err(error) => {
            tracing::error!(%error, "the rules of who may do what have changed and are bad; the old ones stay");
            "failed"
        }
    };
    counter!(metric_names::ACCESS_RELOADS, "result" => result).increment(1);
}

fn refresh(listener: &'static str, tls: &Arc<ServerTls>) {
    let result = match tls.refresh() {
        Ok(Made::Same) => return,
        Ok(Made::Anew) => {
            tracing::info!(listener, "certificates have changed; new connections use the new ones");
            "done"
        }
        Err(error) => {
            tracing::error!(listener, %error, "certificates have changed and are bad; the old ones stay");
            "failed"
        }
    };
    counter!(metric_names::CERTIFICATE_RELOADS, "listener" => listener, "result" => result).increment(1);
}
