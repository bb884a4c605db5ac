//! A few seeds, always the same; that a seed decides all; and that what is planted is found.

use rollcall_simulation::{Coverage, Planted, Scenario, run};

#[test]
fn nothing_is_violated_whatever_breaks_and_all_is_well_again_after_healing() -> anyhow::Result<()> {
    let mut covered = Coverage::default();
    for seed in 0..8 {
        let outcome = run(&Scenario::of(seed))?;
        assert_eq!(
            outcome.violations,
            [],
            "seed {seed}: cargo run -p rollcall-simulation -- --replay {seed}"
        );
        covered = covered.and(outcome.coverage);
    }
    assert_eq!(covered.missing(), [""; 0], "what was meant to happen did not: {covered}");
    Ok(())
}

#[test]
fn the_same_seed_does_the_same_again() -> anyhow::Result<()> {
    let (one, other) = (run(&Scenario::of(7))?, run(&Scenario::of(7))?);
    assert_eq!((one.trace_hash, one.trace_lines), (other.trace_hash, other.trace_lines));
    assert_eq!(one.coverage, other.coverage);
    assert_ne!(run(&Scenario::of(8))?.trace_hash, one.trace_hash);
    Ok(())
}

/// Whether one of a few seeds finds what is planted.
fn is_found(planted: Planted) -> anyhow::Result<bool> {
    for seed in 0..16 {
        if !run(&Scenario { planted, ..Scenario::of(seed) })?.violations.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_disk_that_acknowledges_what_it_has_not_written_is_found() -> anyhow::Result<()> {
    assert!(is_found(Planted::DisksClaim)?);
    Ok(())
}

#[test]
fn a_clock_that_runs_slower_than_leases_bear_is_found() -> anyhow::Result<()> {
    assert!(is_found(Planted::ClockCrawls)?);
    Ok(())
}
