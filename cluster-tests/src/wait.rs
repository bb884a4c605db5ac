//! Waiting for a condition: with a deadline, a reason, and the last thing seen.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout_at};

use crate::limits;

/// Looks again and again until `look` succeeds, and gives what it saw.
///
/// `look` fails with what it observed instead; the last observation stands in the error.
///
/// # Errors
/// The condition did not come true within `patience`.
pub async fn wait_until<T, L>(what: &str, patience: Duration, mut look: L) -> anyhow::Result<T>
where
    L: AsyncFnMut() -> anyhow::Result<T>,
{
    let begun = Instant::now();
    let deadline = begun + patience;
    let mut last = anyhow!("nothing was observed: the first look took all the time");
    loop {
        match timeout_at(deadline, look()).await {
            Ok(Ok(seen)) => return Ok(seen),
            Ok(Err(observation)) => last = observation,
            Err(_) => {}
        }
        if Instant::now() + limits::LOOK_EVERY >= deadline {
            let waited = begun.elapsed();
            return Err(last.context(format!("waited {waited:.1?} until {what}; last seen")));
        }
        sleep(limits::LOOK_EVERY).await;
    }
}
