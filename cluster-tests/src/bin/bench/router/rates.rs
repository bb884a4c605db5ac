//! How many unary calls a second many callers get.

use super::{
    figures::{LOCAL, NOBODY, RAW, REMOTE},
    scene::Scene,
    unary::{self, UnaryCaller},
};
use crate::{
    limits::{CALLERS, SAMPLE},
    load,
    report::Report,
};

/// One round.
pub(super) async fn measure(scene: &Scene, report: &mut Report) -> anyhow::Result<()> {
    let connections = scene.connections;
    if scene.wants(RAW) {
        let raw = UnaryCaller::many(&scene.raw, &unary::echo(""), CALLERS, connections.raw).await?;
        report.add(RAW, load::rate(raw, SAMPLE).await?);
    }
    for (name, group) in [(REMOTE, scene.remote()), (LOCAL, scene.local())] {
        if scene.wants(name) {
            let callers =
                UnaryCaller::many(&scene.entry, &unary::echo(&group), CALLERS, connections.ours).await?;
            report.add(name, load::rate(callers, SAMPLE).await?);
        }
    }
    if scene.wants(NOBODY) {
        let nobody =
            UnaryCaller::many(&scene.entry, &unary::echo("nobody"), CALLERS, connections.ours).await?;
        let nobody = nobody.into_iter().map(UnaryCaller::refused).collect();
        report.add(NOBODY, load::rate(nobody, SAMPLE).await?);
    }
    Ok(())
}
