//! The binary's handlers, over a real connection, and the binary itself.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod node;

use std::{path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use node::{Connection, Node, until, within};
use rollcall_proto::device::{self as wire, CloseCode, attach_request, attach_response::Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::{Child, Command},
};

fn binary(node: &Node, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rollcall-agent"))
        .args(["--server", &node.url, "--device-id", "phone-1", "--group", "sign", "--capacity", "4"])
        .args(arguments)
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary")
}

async fn with_action(handler: &str) -> (Connection, Child, Node) {
    let mut node = Node::start("n1").await;
    let child = binary(&node, &["--action", &format!("do={handler}")]);
    let (connection, _) = node.attach(1).await;
    (connection, child, node)
}

async fn error_of(connection: &mut Connection) -> String {
    connection.result().await.error.expect("an error").message
}

fn terminate(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::TERM).expect("a signal");
}

#[tokio::test]
async fn exec_gives_the_payload_to_a_program_and_its_output_back() {
    let (mut connection, _child, _node) = with_action("exec:tr a-z 'A-Z'").await;
    let payload: Bytes = b"hello ".repeat(80_000).into();
    connection.call(1, "do", payload.clone()).await;
    assert_eq!(connection.result().await.payload, payload.to_ascii_uppercase());
}

#[tokio::test]
async fn exec_tells_the_program_what_it_is_called_for() {
    let (mut connection, _child, _node) =
        with_action(r#"exec:sh -c 'echo "$ROLLCALL_ACTION $ROLLCALL_REQUEST_ID $ROLLCALL_DEVICE_ID"'"#).await;
    let call = wire::Call { epoch: 1, action: "do".into(), request_id: "r9".into(), ..wire::Call::default() };
    connection.call_with(1, 1, Bytes::new(), call).await;
    assert_eq!(&connection.result().await.payload[..], b"do r9 phone-1\n");
}

#[tokio::test]
async fn a_program_that_fails_shows_the_end_of_its_standard_error() {
    let (mut connection, _child, _node) =
        with_action("exec:sh -c 'seq 1 5000 >&2; echo the end >&2; exit 3'").await;
    connection.call(1, "do", Bytes::from_static(b"not read")).await;
    let message = error_of(&mut connection).await;
    assert!(message.starts_with("sh: exit status: 3: ") && message.ends_with("the end"), "{message}");
    assert!(message.len() <= 4_096 && message.len() > 3_000);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_of_the_device() {
    let (mut connection, _child, _node) = with_action("exec:/no/such/program").await;
    connection.call(1, "do", Bytes::new()).await;
    assert!(error_of(&mut connection).await.starts_with("/no/such/program: cannot start: "));
}

#[tokio::test]
async fn a_cancel_kills_the_program_and_what_it_started() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let script = format!("exec:sh -c 'sleep 1000 & echo $$ $! > {}; wait'", pids.display());
    let (mut connection, _child, _node) = with_action(&script).await;
    connection.call(1, "do", Bytes::new()).await;
    let read = || std::fs::read_to_string(&pids).unwrap_or_default();
    until("the program runs", || read().split_whitespace().count() == 2).await;
    connection.send(1, Frame::Cancel(wire::Cancel { tag: 1, ..Default::default() })).await;
    assert!(connection.cancelled().await.executed);
    for pid in read().split_whitespace() {
        until("the process is gone", || !is_alive(pid)).await;
    }
}

/// Whether a process runs; a zombie, which only waits to be reaped, does not.
fn is_alive(pid: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

/// A server that answers one request with fixed bytes and returns what it was sent.
async fn answer_once(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/sign", listener.local_addr().expect("an address"));
    let served = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut request = Vec::new();
        while !request.ends_with(b"hello") {
            assert!(socket.read_buf(&mut request).await.expect("a request") > 0, "the end came too early");
        }
        socket.write_all(answer.as_bytes()).await.expect("an answer");
        String::from_utf8_lossy(&request).into_owned()
    });
    (url, served)
}

#[tokio::test]
async fn http_posts_the_payload_and_answers_with_the_body() {
    let (url, served) =
        answer_once("HTTP/1.1 200 OK\r\ncontent-type: text/x-signature\r\ncontent-length: 4\r\n\r\nsign")
            .await;
    let (mut connection, _child, _node) = with_action(&url).await;
    let call = wire::Call {
        epoch: 1,
        action: "do".into(),
        content_type: "text/plain".into(),
        ..wire::Call::default()
    };
    connection.call_with(1, 1, Bytes::from_static(b"hello"), call).await;
    let result = connection.result().await;
    assert_eq!((&result.payload[..], result.content_type.as_str()), (&b"sign"[..], "text/x-signature"));
    let request = within("the request", served).await.expect("a request");
    assert!(request.starts_with("POST /sign HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("content-type: text/plain\r\n") && request.contains("x-rollcall-action: do\r\n")
    );
}

#[tokio::test]
async fn a_status_other_than_2xx_is_an_error_of_the_device() {
    let (url, _served) =
        answer_once("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy").await;
    let (mut connection, _child, _node) = with_action(&url).await;
    connection.call(1, "do", Bytes::from_static(b"hello")).await;
    assert_eq!(error_of(&mut connection).await, format!("{url}: 503 Service Unavailable: busy"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_of_the_device() {
    let (mut connection, _child, _node) = with_action("http://127.0.0.1:1/x").await;
    connection.call(1, "do", Bytes::new()).await;
    let message = error_of(&mut connection).await;
    assert!(message.contains("refused"), "{message}");
}

#[tokio::test]
async fn sigterm_says_goodbye_and_exits_with_0() {
    let (mut connection, mut child, _node) = with_action("echo").await;
    connection.call(1, "do", Bytes::from_static(b"hello")).await;
    assert_eq!(&connection.result().await.payload[..], b"hello");
    terminate(&child);
    assert!(matches!(connection.next().await, (1, attach_request::Frame::Detach(_))));
    drop(connection);
    let status = within("the exit", child.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_refusal_for_good_has_its_exit_code_and_a_readable_line() {
    for (code, exit) in [
        (CloseCode::Invalid, 3),
        (CloseCode::Version, 4),
        (CloseCode::Unauthenticated, 5),
        (CloseCode::ProtocolError, 6),
    ] {
        let mut node = Node::start("n1").await;
        let child = binary(&node, &["--action", "do=echo"]);
        let mut connection = node.welcome().await;
        connection.expect_attach(1).await;
        let refused = wire::AttachRefused {
            code: code.into(),
            message: "because".into(),
            ..wire::AttachRefused::default()
        };
        connection.send(1, Frame::AttachRefused(refused)).await;
        while connection.try_next().await.is_some() {}
        drop(connection);
        let output = within("the exit", child.wait_with_output()).await.expect("an output");
        let lines = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{lines}");
        assert!(lines.contains("because"), "{lines}");
    }
}

#[tokio::test]
async fn a_wrong_command_line_says_what_is_wrong_and_exits_with_2() {
    let run = |arguments: &'static [&'static str]| async move {
        let output = Command::new(env!("CARGO_BIN_EXE_rollcall-agent")).args(arguments).output();
        let output =
            tokio::time::timeout(Duration::from_secs(10), output).await.expect("an end").expect("an output");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) =
        run(&["--server", "http://h:1", "--device-id", "d", "--group", "g", "--action", "do=nothing"]).await;
    assert!(code == Some(2) && text.contains("\"nothing\" is no handler"), "{text}");
    let (code, text) =
        run(&["--server", "h", "--device-id", "d", "--group", "g", "--action", "do=echo"]).await;
    assert!(code == Some(2) && text.contains("server \"h\" is not of the form"), "{text}");
    let (code, text) = run(&["--nonsense"]).await;
    assert!(code == Some(2) && text.contains("--nonsense"), "{text}");
}

#[tokio::test]
async fn a_health_call_is_answered_while_every_place_is_taken() {
    let (mut connection, _child, _node) = with_action("exec:sleep 20").await;
    for tag in 1..=4 {
        connection.call(tag, "do", Bytes::new()).await;
    }
    connection.call(5, "do", Bytes::new()).await;
    assert_eq!(connection.refused().await.reason(), wire::RefusedReason::Busy);
    connection.call(6, "rollcall.health", Bytes::new()).await;
    let result = connection.result().await;
    assert_eq!((result.tag, result.error), (6, None));
}

#[tokio::test]
async fn where_handlers_hang_the_health_call_hangs_and_the_heartbeat_does_not() {
    let (mut connection, _child, _node) = with_action("block").await;
    connection.call(1, "do", Bytes::from_static(b"1000")).await;
    connection.call(2, "rollcall.health", Bytes::new()).await;
    connection.send(0, Frame::Ping(wire::Ping { number: 7 })).await;
    match connection.next().await {
        (0, attach_request::Frame::Pong(pong)) => assert_eq!(pong.number, 7),
        other => panic!("no Pong but {other:?}"),
    }
    let (first, second) = (connection.result().await, connection.result().await);
    assert_eq!((first.tag, second.tag), (1, 2), "the handlers run again");
}
