//! Large replies, beside an echo of their size.

use super::{
    figures::{LARGE, RAW_LARGE, RAW_LARGE_REPLY},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{LARGE_CALLERS, SAMPLE},
    load,
    report::Report,
};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let kinds = [
        (RAW_LARGE, &scene.raw, unary::large_echo()),
        (RAW_LARGE_REPLY, &scene.raw, unary::large("")),
        (LARGE, &scene.entry, unary::large(&scene.remote())),
    ];
    for (name, url, request) in kinds {
        let callers = UnaryCaller::many(url, &request, LARGE_CALLERS, 2).await?;
        report.add(name, load::rate(callers, SAMPLE).await?);
    }
    Ok(())
}
