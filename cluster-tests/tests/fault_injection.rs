//! The switches of faults are in the programs that tests build for themselves, and in no other.

use std::path::Path;

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{binaries, binaries_with_faults};
use rollcall_registry::faults::{FILE_VARIABLE, Switch};

/// What a program contains that can be switched: the variable, its thread, and words that nobody else would use.
fn marks() -> [&'static str; 5] {
    [
        FILE_VARIABLE,
        "rollcall-faults",
        Switch::EpochUnchecked.word(),
        Switch::SyncsSkipped.word(),
        Switch::LeaseUnwatched.word(),
    ]
}

fn contains(program: &Path, mark: &str) -> anyhow::Result<bool> {
    let found = std::process::Command::new("grep").args(["-qaF", mark]).arg(program).status();
    let found = found.context("there is no grep")?;
    ensure!(matches!(found.code(), Some(0 | 1)), "grep {mark} {}: {found}", program.display());
    Ok(found.success())
}

#[tokio::test]
async fn the_default_program_has_no_switches() -> anyhow::Result<()> {
    let (default, with_faults) = (&binaries().await?.rollcall, &binaries_with_faults().await?.rollcall);
    ensure!(default.parent() != with_faults.parent(), "they share a target folder");
    for mark in marks() {
        ensure!(!contains(default, mark)?, "the default program contains {mark:?}");
        ensure!(contains(with_faults, mark)?, "{mark:?} is no mark: the program with switches lacks it too");
    }
    Ok(())
}
