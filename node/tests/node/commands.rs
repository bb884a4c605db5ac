//! The commands: arguments, output, exit codes; the real binary against a node in this process.

use std::process::{Output, Stdio};

use clap::{CommandFactory, Parser};
use rollcall_node::cli::Cli;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, process::Command};

use super::support::{device::attach, node::TestNode};

fn rollcall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROLLCALL_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

async fn run(arguments: &[&str]) -> Output {
    rollcall().args(arguments).output().await.expect("the binary runs")
}

async fn ask(node: &TestNode, arguments: &[&str]) -> Output {
    let addr = format!("http://{}", node.cluster.config().advertise.api);
    rollcall().args(arguments).env("ROLLCALL_ADDR", addr).output().await.expect("the binary runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

#[test]
fn the_command_line_holds_together() {
    Cli::command().debug_assert();
}

#[test]
fn what_the_documents_promise_is_accepted() {
    for line in [
        "rollcall serve --name n1 --data-dir D --join h1:7402,h2:7402,h3:7402 --bootstrap-expect 3 \
         --api-addr 0.0.0.0:7400 --device-addr 0.0.0.0:7401 --peer-addr 0.0.0.0:7402 --http-addr 0.0.0.0:7403 \
         --advertise-peer-addr h1:7402",
        "rollcall invoke sign echo hello --device phone-1 --addr http://h1:7400,http://h2:7400 --timeout 5s --output json",
        "rollcall invoke sign echo @file --label site=hz1 --label floor=2 --idempotent --request-id r-1",
        "rollcall invoke sign echo - --affinity-key user-7 --namespace shop",
        "rollcall invoke sign echo",
        "rollcall devices list --group sign --label site=hz1 --connected --output json",
        "rollcall devices get phone-1",
        "rollcall devices watch --group sign",
        "rollcall devices disconnect phone-1 --epoch 7",
        "rollcall devices create phone-1 --group sign --label site=hz1 --disabled",
        "rollcall devices update phone-1 --group print --etag 5f1c000000000000",
        "rollcall devices update phone-1 --own-groups --own-labels",
        "rollcall devices disable phone-1 --output json",
        "rollcall devices enable phone-1",
        "rollcall devices delete phone-1 --etag 5f1c000000000000",
        "rollcall devices policy",
        "rollcall devices policy --registration known --record-ttl 7days",
        "rollcall groups list --namespace shop --output json",
        "rollcall access get --output json",
        "rollcall access set access.toml --etag 00000000000000a1",
        "rollcall access clear",
        "rollcall groups policies",
        "rollcall groups policy sign",
        "rollcall groups policy sign --default-timeout 10s --max-timeout 1m",
        "rollcall groups policy sign --none --output json",
        "rollcall nodes list",
        "rollcall nodes list --watch",
        "rollcall cluster status --watch=500ms",
        "rollcall cluster status --output json",
        "rollcall route explain phone-1 --from n2",
        "rollcall config print --name n1 --output json",
        "rollcall snapshot save registry.backup --addr http://h1:7400 --stale --output json",
        "rollcall snapshot inspect registry.backup",
        "rollcall snapshot restore registry.backup --data-dir D --name n1 --peer-addr h1:7402",
        "rollcall cluster recover --unsafe --data-dir D --yes",
        "rollcall cluster shrink --to 3 --check",
        "rollcall drain n2",
        "rollcall drain n2 --now --output json",
        "rollcall rebalance --rate 50 --dry-run --output json",
        "rollcall doctor",
        "rollcall completions bash",
        "rollcall health",
        "rollcall health --live --http-addr 127.0.0.1:7403",
        "rollcall prestop --config /etc/rollcall/rollcall.toml --linger 5s --give-up-after 10m",
        "rollcall log level",
        "rollcall log level info,rollcall_router=debug --node n2",
    ] {
        Cli::try_parse_from(line.split_whitespace()).expect(line);
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_done() {
    for line in [
        "rollcall",
        "rollcall serve --nmae n1",
        "rollcall devices update phone-1",
        "rollcall devices update phone-1 --group print --own-groups",
        "rollcall devices policy --registration closed",
        "rollcall groups policy",
        "rollcall groups policy sign --none --max-timeout 1m",
        "rollcall invoke sign",
        "rollcall invoke sign echo --timeout soon",
        "rollcall invoke sign echo --label site",
        "rollcall devices get",
        "rollcall cluster shrink --to 4",
        "rollcall drain",
        "rollcall health --live --ready",
        "rollcall prestop --linger soon",
        "rollcall nodes list --output yaml",
        "rollcall snapshot restore registry.backup --data-dir D",
        "rollcall cluster recover --data-dir D",
    ] {
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
    }
}

#[tokio::test]
async fn a_wrong_command_line_or_setting_exits_with_2() {
    let output = run(&["serve", "--nmae", "n1"]).await;
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("--nmae"), "{}", err(&output));
    let output = run(&["serve", "--api-addr", "nowhere"]).await;
    assert_eq!(code(&output), 2);
    assert!(err(&output).starts_with("rollcall: api_addr = `nowhere` from --api-addr: "), "{}", err(&output));
    let output =
        rollcall().args(["config", "print"]).env("ROLLCALL_NMAE", "n1").output().await.expect("it runs");
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains("did you mean `ROLLCALL_NAME`?"), "{}", err(&output));
}

#[tokio::test]
async fn nodes_that_cannot_be_reached_exit_with_3() {
    let free =
        || std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (one, other) = (free(), free());
    let output = run(&["nodes", "list", "--addr", &format!("http://{one},http://{other}")]).await;
    assert_eq!(code(&output), 3);
    let said = err(&output);
    assert!(said.contains(&one.to_string()) && said.contains(&other.to_string()), "{said}");
    assert!(said.contains("hint: --addr"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_prints_the_payload_alone_on_stdout() {
    let node = TestNode::ready(&[]).await;
    let held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let output = ask(&node, &["invoke", "sign", "echo", "hello"]).await;
    assert_eq!((code(&output), out(&output).as_str()), (0, "hello"), "{}", err(&output));
    let summary = err(&output);
    assert!(summary.starts_with(&format!("phone-1 on {} in ", node.cluster.config().name)), "{summary}");

    let output = ask(&node, &["invoke", "sign", "echo", "hello", "--output", "json"]).await;
    let answer: Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(answer["payload"], "hello");
    assert_eq!(answer["epoch"], held.epoch);
    assert!(answer["timings"]["total_s"].is_number(), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_comes_from_stdin_or_a_file_and_may_be_bytes() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let addr = format!("http://{}", node.cluster.config().advertise.api);
    let mut child = rollcall()
        .args(["invoke", "sign", "echo", "-", "--addr", &addr])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    child.stdin.take().expect("stdin").write_all(b"from stdin").await.expect("written");
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!(out(&output), "from stdin");

    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("payload");
    std::fs::write(&path, [0xff, 0x00]).expect("a file");
    let file = format!("@{}", path.display());
    let output = ask(&node, &["invoke", "sign", "echo", &file, "--output", "json"]).await;
    let answer: Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!(answer["payload_base64"], "/wA=");
    assert_eq!(code(&ask(&node, &["invoke", "sign", "echo", "@/nowhere"]).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_exits_with_1_and_says_code_reason_outcome_and_what_to_do() {
    let node = TestNode::ready(&[]).await;
    let output = ask(&node, &["invoke", "sign", "echo"]).await;
    assert_eq!((code(&output), out(&output).as_str()), (1, ""));
    let said = err(&output);
    assert!(said.starts_with("rollcall: FAILED_PRECONDITION NO_DEVICE (NOT_EXECUTED): "), "{said}");
    assert!(said.contains("hint: `rollcall devices list"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_tables_for_people_and_json_for_programs() {
    let node = TestNode::ready(&[]).await;
    let name = node.cluster.config().name.clone();
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[("site", "hz1")]).await;
    let listed = out(&ask(&node, &["devices", "list"]).await);
    let mut lines = listed.lines();
    assert!(lines.next().expect("a header").starts_with("DEVICE   NODE"), "{listed}");
    let row: Vec<_> = lines.next().expect("a row").split_whitespace().collect();
    assert_eq!(
        (row[0], row[1], row[4], row[6], row[7]),
        ("phone-1", name.as_str(), "sign", "site=hz1", "connected")
    );

    for (arguments, pointer, expected) in [
        (["devices", "list"], "/devices/0/device_id", "phone-1"),
        (["nodes", "list"], "/nodes/0/role", "leader"),
        (["cluster", "status"], "/leader", name.as_str()),
    ] {
        let output = ask(&node, &[&arguments[..], &["--output", "json"]].concat()).await;
        let answer: Value = serde_json::from_str(&out(&output)).expect("JSON");
        assert_eq!(answer.pointer(pointer).expect(pointer), expected);
    }
    let explained = out(&ask(&node, &["route", "explain", "phone-1", "--from", &name]).await);
    assert!(explained.starts_with(&format!("reachable from {name}\n")), "{explained}");
    let output = ask(&node, &["route", "explain", "phone-1", "--from", "n9"]).await;
    assert_eq!(code(&output), 2);
    assert!(err(&output).contains(&format!("no node is named n9; there are: {name}")), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_registered_disabled_and_deleted_by_commands() {
    let node = TestNode::ready(&[]).await;
    let created = ask(&node, &["devices", "create", "pad", "--group", "sign", "--output", "json"]).await;
    let created: Value = serde_json::from_str(&out(&created)).expect("JSON");
    assert_eq!((&created["registered"], &created["assigned"]["groups"][0]), (&true.into(), &"sign".into()));
    let again = ask(&node, &["devices", "create", "pad"]).await;
    assert_eq!(code(&again), 1);
    assert!(err(&again).contains("ALREADY_EXISTS DEVICE_EXISTS"), "{}", err(&again));

    let etag = created["etag"].as_str().expect("an etag");
    assert_eq!(code(&ask(&node, &["devices", "disable", "pad", "--etag", etag]).await), 0);
    let late = ask(&node, &["devices", "enable", "pad", "--etag", etag]).await;
    assert!(err(&late).contains("ABORTED ETAG_MISMATCH"), "{}", err(&late));
    let shown = out(&ask(&node, &["devices", "get", "pad"]).await);
    assert!(shown.contains("disabled") && shown.contains("registered by an administrator"), "{shown}");
    assert_eq!(code(&ask(&node, &["devices", "delete", "pad"]).await), 0);
    assert!(err(&ask(&node, &["devices", "delete", "pad"]).await).contains("NOT_FOUND"));

    let policy = ["devices", "policy", "--registration", "known", "--output", "json"];
    let policy: Value = serde_json::from_str(&out(&ask(&node, &policy).await)).expect("JSON");
    assert_eq!((&policy["registration"], &policy["record_ttl_seconds"]), (&"known".into(), &86_400.0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_for_a_group_is_said_and_shown_by_commands() {
    let node = TestNode::ready(&[]).await;
    let _held = attach(node.devices().await, "phone-1", &["sign"], &[]).await;
    let listed = out(&ask(&node, &["groups", "list"]).await);
    assert!(listed.lines().nth(1).expect("a row").starts_with("sign   1"), "{listed}");
    let nothing = out(&ask(&node, &["groups", "policy", "sign"]).await);
    assert!(nothing.contains("max timeout      -"), "{nothing}");

    let say = ["groups", "policy", "sign", "--max-timeout", "1500ms", "--output", "json"];
    let said: Value = serde_json::from_str(&out(&ask(&node, &say).await)).expect("JSON");
    assert_eq!((&said["max_timeout_seconds"], &said["default_timeout_seconds"]), (&1.5.into(), &Value::Null));
    let policies = out(&ask(&node, &["groups", "policies"]).await);
    assert!(policies.contains("sign   -                1s 500ms"), "{policies}");
    let odd = ask(&node, &["groups", "policy", "sign", "--max-timeout", "25h"]).await;
    assert_eq!(code(&odd), 1);
    assert!(err(&odd).contains("policy.max_timeout: must be 1 ms to 24 h"), "{}", err(&odd));

    assert_eq!(code(&ask(&node, &["groups", "policy", "sign", "--none"]).await), 0);
    let policies = out(&ask(&node, &["groups", "policies", "--output", "json"]).await);
    assert_eq!(serde_json::from_str::<Value>(&policies).expect("JSON")["policies"], Value::Array(Vec::new()));
}
