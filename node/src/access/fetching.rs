//! Key sets that are behind a URL: fetched in the background, now and then, and when a token names an unknown key.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use metrics::counter;
use rollcall_transport::{ClientFiles, Connector, Trust};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{control::AccessControl, jwt::usable_keys, rules::Remote};
use crate::{
    limits::{ACCESS_FILE_BYTES, KEYS_AGAIN, KEYS_INTERVAL, KEYS_LEAST, KEYS_PATIENCE},
    telemetry::metric_names::KEY_FETCHES,
};

impl AccessControl {
    /// Fetches the key sets that the rules name by URL, until `stop`. What is new counts once [`Self::refresh`] has
    /// looked at it; [`Self::fetched`] says when that is due.
    pub(crate) async fn keep_fetching(self, stop: CancellationToken) {
        let Some(rules) = self.rules() else { return };
        let mut versions = self.versions();
        loop {
            let urls = rules.urls();
            let mut all_there = true;
            for remote in urls.iter() {
                let result = fetch(remote).await;
                let outcome = if result.is_ok() { "done" } else { "failed" };
                counter!(KEY_FETCHES, "result" => outcome).increment(1);
                match result {
                    Ok(keys) if rules.fetched(&remote.url, keys.clone()) => self.tell_fetched(),
                    Ok(_) => {}
                    Err(problem) => {
                        all_there = false;
                        tracing::warn!(
                            url = remote.url,
                            problem,
                            "a key set cannot be fetched; the old one stays"
                        );
                    }
                }
            }
            let pause = if all_there { KEYS_INTERVAL } else { KEYS_AGAIN };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(KEYS_LEAST) => {}
            }
            versions.mark_unchanged();
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(pause) => {}
                () = self.key_missed() => {}
                () = other_urls(&mut versions, || *rules.urls() != *urls) => {}
            }
        }
    }
}

/// Resolves once the rules name other key sets.
async fn other_urls(versions: &mut tokio::sync::watch::Receiver<u64>, differ: impl Fn() -> bool) {
    while !differ() {
        if versions.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

async fn fetch(remote: &Remote) -> Result<Bytes, String> {
    let remote = remote.clone();
    let prepared = tokio::task::spawn_blocking(move || {
        let Some(ca) = remote.ca else { return Ok((remote.url, Connector::system())) };
        let files = ClientFiles { trust: Trust::Authorities(ca), identity: None };
        Connector::with_tls(files).map(|connector| (remote.url, connector)).map_err(|error| error.to_string())
    });
    let (url, connector) = prepared.await.map_err(|error| error.to_string())??;
    let ask = async {
        let uri = url.parse().map_err(|_| "the URL is malformed".to_owned())?;
        let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
        let answer = client.get(uri).await.map_err(|error| innermost(&error))?;
        if !answer.status().is_success() {
            return Err(format!("the answer is {}", answer.status()));
        }
        let most = usize::try_from(ACCESS_FILE_BYTES).unwrap_or(usize::MAX);
        let body =
            Limited::new(answer.into_body(), most).collect().await.map_err(|error| error.to_string())?;
        Ok(body.to_bytes())
    };
    let keys = timeout(KEYS_PATIENCE, ask).await.map_err(|_| "nobody answers".to_owned())??;
    usable_keys(&keys)?;
    Ok(keys)
}

/// The cause that says most: the outer ones say that there was an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}
