//! One run: a cluster founds itself, everything is broken for a while, then nothing is.

use anyhow::{Result, ensure};

use crate::{
    cluster::Cluster,
    faults, judge,
    limits::{FOUNDING, MACHINES, SAFETY},
    outcome::Outcome,
    scenario::{Reading, Scenario},
    trace::Trace,
};

/// Runs a scenario. The same one gives the same outcome.
///
/// # Errors
/// It could not be set up. What goes wrong in the cluster is in the outcome.
pub fn run(scenario: &Scenario) -> Result<Outcome> {
    let trace = Trace::new((scenario.trace == Reading::Lines).then(Vec::new));
    let mut cluster = Cluster::new(scenario, trace.clone())?;
    found(&mut cluster)?;
    break_all(&mut cluster, scenario.seed);
    trace.line(cluster.now, format_args!("all is healed"));
    cluster.heal();
    let unwell = judge::converges(&mut cluster);
    let violations = [unwell, judge::judge(&cluster)].concat();
    let coverage = judge::coverage(&cluster);
    let (trace_hash, trace_lines) = trace.hash();
    Ok(Outcome { violations, coverage, trace_hash, trace_lines, trace: trace.take() })
}

fn found(cluster: &mut Cluster) -> Result<()> {
    for machine in 0..MACHINES {
        cluster.start(machine);
    }
    while !(0..MACHINES).all(|machine| cluster.status(machine).is_some_and(|status| status.lease_held)) {
        cluster.step();
        ensure!(
            cluster.now < FOUNDING,
            "the cluster is not founded after {FOUNDING:?}: {:?}",
            cluster.violations()
        );
    }
    Ok(())
}

fn break_all(cluster: &mut Cluster, seed: u64) {
    let begun = cluster.now;
    let mut plan = faults::plan(seed).into_iter().peekable();
    while cluster.now < begun + SAFETY {
        while let Some((_, fault)) = plan.next_if(|(at, _)| begun + *at <= cluster.now) {
            cluster.apply(fault);
        }
        cluster.step();
        cluster.clients.step(cluster.now, &cluster.machines);
    }
}
