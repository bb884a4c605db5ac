//! The commands in the documents are run, against a real cluster.
//!
//! A block is run if the line before its fence is a comment that readers do not see: `<!-- run: PROGRAM -->`, with `sh`,
//! `python`, `grpcurl`, or `own nodes` for what starts nodes itself. What it prints is compared with nothing; it must succeed. Addresses and folders of the documents
//! stand for those of the test.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use rollcall_cluster_tests::{Cluster, ClusterPlan, Lab, LabDevice, SPREAD_PATIENCE, Scratch, binaries};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const OPERATING: &str = "node/docs/operating.md";
const OWN_NODES: &str = "own nodes";
const PATIENCE: Duration = Duration::from_secs(120);

/// A block that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block {
    document: String,
    line: usize,
    program: String,
    indent: String,
    text: String,
}

/// The blocks of a document that are run.
fn blocks(document: &str, text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let (mut wanted, mut inside) = (None, false);
    for (number, line) in (1..).zip(text.lines()) {
        let fence = line.trim_start().starts_with("```");
        if inside && fence {
            inside = false;
        } else if inside {
            if let Some(block) = found.last_mut() {
                // An indented block is as deep as its fence.
                block.text.push_str(line.strip_prefix(&block.indent).unwrap_or(line));
                block.text.push('\n');
            }
        } else if let Some(program) =
            line.trim().strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->"))
        {
            wanted = Some(program.to_owned());
        } else if let (true, Some(program)) = (fence, wanted.take()) {
            let indent = line.chars().take_while(|char| *char == ' ').collect();
            found.push(Block {
                document: document.into(),
                line: number,
                program,
                indent,
                text: String::new(),
            });
            inside = true;
        }
    }
    found
}

/// What stands for what in a block.
type Meaning = BTreeMap<String, String>;

fn meant(text: &str, meaning: &Meaning) -> String {
    // Longer names first, or one would be taken for the beginning of another.
    let mut names: Vec<_> = meaning.iter().collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name.as_str(), value))
}

/// Runs a block in a folder of its own, with the programs under test on the path; ends what it leaves running.
async fn run(block: &Block, meaning: &Meaning, folder: &Path) -> anyhow::Result<()> {
    let place = format!("{}:{}", block.document, block.line);
    let text = meant(&block.text, meaning);
    let programs = binaries().await?.rollcall.parent().context("a folder")?.to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = match block.program.as_str() {
        "python" => {
            let Some((python, stubs)) = python_with_stubs(folder).await? else {
                println!("NOT RUN: {place}: no python with grpcio, grpcio-status and grpcio-tools");
                return Ok(());
            };
            let mut command = Command::new(python);
            command.args(["-c", &text]).env("PYTHONPATH", stubs);
            command
        }
        "grpcurl" if !has("grpcurl").await => {
            println!("NOT RUN: {place}: no grpcurl");
            return Ok(());
        }
        _ => {
            let mut command = Command::new("bash");
            command.args(["-euo", "pipefail", "-c", &text]);
            command
        }
    };
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROLLCALL_")) {
        command.env_remove(name);
    }
    if let Some(addr) = meaning.get("http://127.0.0.1:7400") {
        command.env("ROLLCALL_ADDR", addr);
    }
    let log = folder.join("output");
    let output = std::fs::File::create(&log)?;
    // A file and not a pipe: what a block leaves in the background would keep a pipe open.
    command.current_dir(folder).env("PATH", path).process_group(0).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.spawn().with_context(|| place.clone())?;
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
    if let Some(group) = group {
        // Nobody may be left in it.
        kill_process_group(group, Signal::KILL).ok();
    }
    let said = std::fs::read_to_string(&log)?;
    let status = ended.with_context(|| format!("{place} does not end:\n{text}\n{said}"))??;
    ensure!(status.success(), "{place} ended with {status}:\n{text}\n{said}");
    println!("{place}: ran");
    Ok(())
}

async fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().await.is_ok_and(|ran| ran.status.success())
}

/// A Python that can make stubs, and a folder with them.
async fn python_with_stubs(folder: &Path) -> anyhow::Result<Option<(PathBuf, PathBuf)>> {
    let named = std::env::var_os("ROLLCALL_PYTHON").map(PathBuf::from);
    let installed = PathBuf::from(format!("{ROOT}/target/ci/python/bin/python"));
    for python in named.into_iter().chain([installed]) {
        let needed = "import grpc, grpc_status, grpc_tools";
        if !Command::new(&python).args(["-c", needed]).output().await.is_ok_and(|ran| ran.status.success()) {
            continue;
        }
        let stubs = folder.join("stubs");
        std::fs::create_dir_all(&stubs)?;
        let out = |kind: &str| format!("--{kind}={}", stubs.display());
        let protos = ["failure", "invoke"].map(|name| format!("rollcall/v1/{name}.proto"));
        let made = Command::new(&python)
            .args(["-m", "grpc_tools.protoc", "-I", &format!("{ROOT}/proto")])
            .args([out("python_out"), out("grpc_python_out")])
            .args(protos)
            .output()
            .await?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        return Ok(Some((python, stubs)));
    }
    Ok(None)
}

/// The documents' nodes listen at 7400 to 7403, 7410 to 7413 and 7420 to 7423.
fn addresses_of(cluster: &Cluster) -> Meaning {
    let mut meaning = Meaning::new();
    for (number, node) in (0..).zip(&cluster.nodes) {
        let addresses = node.addresses;
        let ports = [addresses.api, addresses.device, addresses.peer, addresses.http];
        for (offset, port) in (0..).zip(ports) {
            let documented: u16 = 7400 + 10 * number + offset;
            meaning.insert(format!("127.0.0.1:{documented}"), format!("{}:{port}", addresses.host));
        }
    }
    meaning.insert("http://127.0.0.1:7400".into(), cluster.nodes[0].api_url());
    for node in &cluster.nodes {
        meaning.insert(format!("http://{}:7400", node.name), node.api_url());
    }
    meaning
        .insert("dns:///rollcall.example.com:7400".into(), cluster.nodes[0].api_url().replace("http://", ""));
    meaning
}

/// The devices that the documents speak of.
async fn devices(cluster: &Cluster) -> anyhow::Result<Vec<LabDevice>> {
    let mut devices = Vec::new();
    for (number, node) in (1..).zip(&cluster.nodes) {
        let lab = Lab::new(&format!("phone-{number}"), "sign").label("site", "hz1").capacity(8);
        devices.push(lab.attach(&[node.device_url()]).await?);
    }
    cluster.caught_up(SPREAD_PATIENCE).await?;
    Ok(devices)
}

async fn play(documents: &[&str]) -> anyhow::Result<()> {
    let cluster = Cluster::start(3).await?;
    let held = devices(&cluster).await?;
    let meaning = addresses_of(&cluster);
    let scratch = Scratch::new("documents")?;
    let mut played = 0;
    for document in documents {
        let text = std::fs::read_to_string(format!("{ROOT}/{document}"))?;
        for block in blocks(document, &text).into_iter().filter(|block| block.program != OWN_NODES) {
            let folder = scratch.folder(&format!("block-{played}"))?;
            run(&block, &meaning, &folder).await?;
            played += 1;
        }
    }
    ensure!(played > 0, "{documents:?} have no block that is run");
    drop(held);
    cluster.finish().await?;
    scratch.discard()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_callers_work() -> anyhow::Result<()> {
    play(&["proto/docs/calling.md"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_operators_work() -> anyhow::Result<()> {
    play(&[OPERATING]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_for_device_authors_work() -> anyhow::Result<()> {
    play(&["agent/docs/protocol.md", "README.md"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_started_by_hand_become_clusters() -> anyhow::Result<()> {
    let scratch = Scratch::new("by-hand")?;
    let text = std::fs::read_to_string(format!("{ROOT}/{OPERATING}"))?;
    let by_hand = blocks(OPERATING, &text).into_iter().filter(|block| block.program == OWN_NODES);
    for (number, block) in (0..).zip(by_hand) {
        // Ports of its own: those of the block before are free only once its nodes have died of their signal.
        let cluster = ClusterPlan::of(3).prepare().await?;
        let folder = scratch.folder(&format!("block-{number}"))?;
        let mut meaning = addresses_of(&cluster);
        meaning.insert("/tmp/rc".into(), folder.join("rc").display().to_string());
        run(&block, &meaning, &folder).await?;
        cluster.finish().await?;
    }
    scratch.discard()
}

#[test]
fn only_marked_blocks_are_run() {
    let text = "a\n```sh\nno\n```\n  <!-- run: sh -->\n  ```sh\n  yes 1\n    yes 2\n  ```\n```sh\nno\n```\n";
    let found = blocks("d", text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].text.as_str(), found[0].line), ("yes 1\n  yes 2\n", 6));
}
