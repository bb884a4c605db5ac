//! Golden scripts of the batcher's core: `src/batcher/testscripts/*.txt` hold blocks of inputs, `---` and their effects.
//!
//! `ROLLCALL_REWRITE_SCRIPTS=1 cargo test -p rollcall-registry --test batcher_scripts` writes down what they give now;
//! read the difference before you commit it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a script that cannot be run fails the test")]

#[path = "batcher_script/runner.rs"]
mod runner;

use std::{fs, path::Path};

use runner::Runner;

#[test]
fn every_script_gives_what_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/batcher/testscripts");
    let mut scripts: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    let rewrite = std::env::var_os("ROLLCALL_REWRITE_SCRIPTS").is_some();
    for script in scripts {
        let expected = fs::read_to_string(&script).unwrap();
        let actual = run(&expected);
        if rewrite {
            fs::write(&script, actual).unwrap();
        } else {
            assert_eq!(actual, expected, "\n{} gives something else\n{actual}", script.display());
        }
    }
}

/// The script with the outputs that its inputs give now. `# new` in a block's first line begins with a new batcher.
fn run(script: &str) -> String {
    let mut runner = Runner::new();
    let mut written = String::new();
    for block in script.trim_end().split("\n\n") {
        let inputs = block.split_once("\n---").map_or(block, |(inputs, _)| inputs);
        if !written.is_empty() {
            written.push('\n');
        }
        written.push_str(inputs);
        written.push_str("\n---\n");
        written.push_str(&runner.run(inputs));
    }
    written
}
