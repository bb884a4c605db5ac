//! The corpora of `cluster-tests/fuzz`: a folder a target. Files named `seed-…` are this test's seeds; others were found by
//! fuzzing, and are read again each time.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};

/// Says that the seeds are to be written, after they were changed.
const REWRITE: &str = "ROLLCALL_REWRITE_CORPUS";

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz/corpus", target].iter().collect()
}

/// All that a target's fuzzing begins with.
///
/// # Errors
/// The file system's.
pub(crate) fn of(target: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let folder = folder(target);
    let files = fs::read_dir(&folder).with_context(|| format!("no corpus {}", folder.display()))?;
    files.map(|file| Ok(fs::read(file?.path())?)).collect()
}

/// Fails if a target's corpus lacks one of the seeds.
///
/// # Errors
/// It does.
pub(crate) fn holds(target: &str, seeds: &[Vec<u8>]) -> anyhow::Result<()> {
    let folder = folder(target);
    if std::env::var_os(REWRITE).is_some() {
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    let known = of(target)?;
    let lacking = seeds.iter().filter(|seed| !known.contains(seed)).count();
    ensure!(lacking == 0, "the corpus of {target} lacks {lacking} seeds: {REWRITE}=1 writes them");
    Ok(())
}
