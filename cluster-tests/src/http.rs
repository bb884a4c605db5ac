//! HTTP as a prober or a scraper speaks it.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rollcall_agent::Access;
use tokio::time::timeout;

use crate::limits;

/// A GET: the status and the body.
pub(crate) async fn get(url: &str, access: &Access) -> anyhow::Result<(u16, String)> {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(access.connector());
    let ask = async {
        let answer = client.get(url.parse()?).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    timeout(limits::ASK_PATIENCE, ask).await.with_context(|| format!("{url} does not answer"))?
}
