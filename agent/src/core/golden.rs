//! Golden scripts of the core: `golden/*.txt`, inputs, `---`, effects. `UPDATE_GOLDEN=1` writes the effects anew.
//!
//! `same` is an idempotent call: its link, slot, tag, epoch, request id and payload.
//! A line is `SECONDS COMMAND ARGUMENTS`; the random number is 0.5 throughout. `devices N CAPACITY` may come first.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use bytes::Bytes;
use rollcall_proto::device::{
    self as wire, CloseCode, RefusedReason, attach_request, attach_response::Frame,
};

use super::{CallId, Core, Effect, Fault, Input, LinkId, Moment, Outcome, Session};

fn core(devices: usize, capacity: u32) -> Core {
    let servers = ["http://a:1", "http://b:1", "http://c:1"].map(String::from).to_vec();
    let profile = wire::Profile { actions: vec!["work".into()], capacity, ..wire::Profile::default() };
    let session = |n| Session::new("default".into(), format!("d{n}"), profile.clone());
    Core::new(7, servers, (1..=devices).map(session).collect())
}

fn seconds(text: &str) -> Duration {
    Duration::from_secs_f64(text.parse().expect("seconds"))
}

fn code(text: &str) -> i32 {
    CloseCode::from_str_name(&format!("CLOSE_CODE_{text}")).expect("a close code").into()
}

fn wait(text: Option<&str>) -> Option<prost_types::Duration> {
    text.filter(|text| *text != "-").map(|text| seconds(text).try_into().expect("a duration"))
}

fn addrs(text: Option<&str>) -> Vec<String> {
    text.map(|text| text.split(',').map(String::from).collect()).unwrap_or_default()
}

/// One command as an input.
fn input(line: &str) -> Input {
    let mut words = line.split_whitespace();
    let mut word = || words.next();
    let command = word().expect("a command");
    let number = |text: Option<&str>| -> u64 { text.expect("a number").parse().expect("a number") };
    if let "tick" | "stop" | "done" | "failed" | "stopped" | "written" = command {
        let argument = word();
        let call = || CallId(number(argument));
        return match command {
            "tick" => Input::Tick,
            "stop" => Input::Stop(seconds(argument.expect("seconds"))),
            "done" => Input::Finished(call(), reply(word().map_or(2, |bytes| number(Some(bytes)) as usize))),
            "failed" => Input::Finished(call(), Outcome::Failed("broken".into())),
            "stopped" => Input::Finished(call(), Outcome::Stopped),
            _ => Input::Written(call()),
        };
    }
    let link = LinkId(number(word()));
    if command == "connected" {
        return Input::Connected(link);
    }
    if command == "lost" {
        let code =
            word().map_or(CloseCode::Unspecified, |text| CloseCode::try_from(code(text)).expect("a code"));
        return Input::Lost(link, Fault { code, message: "gone".into() });
    }
    let slot = number(word()) as u32;
    let frame = match command {
        "welcome" => Frame::Welcome(wire::Welcome {
            node: word().expect("a node").into(),
            cluster_id: "k".into(),
            heartbeat_interval: wait(Some("5")),
            max_payload_bytes: 100,
            chunk_bytes: 10,
            max_slots: 3,
            credit: word() == Some("credit"),
            ..wire::Welcome::default()
        }),
        "attached" => {
            let epoch = number(word());
            let tail = word();
            Frame::Attached(wire::Attached {
                cluster_id: "k".into(),
                epoch,
                resumed: tail == Some("resumed"),
                replay: tail == Some("replay"),
                ..wire::Attached::default()
            })
        }
        "refused" => Frame::AttachRefused(wire::AttachRefused {
            code: code(word().expect("a code")),
            retry_after: wait(word()),
            try_addrs: addrs(word()),
            message: "no".into(),
        }),
        "closed" => Frame::Closed(wire::Closed {
            code: code(word().expect("a code")),
            retry_after: wait(word()),
            message: "no".into(),
        }),
        "superseded" => Frame::Superseded(wire::Superseded {
            winner_epoch: number(word()),
            same_instance: word() == Some("same"),
        }),
        "away" => Frame::GoAway(wire::GoAway {
            code: code(word().expect("a code")),
            reconnect_after: wait(word()),
            prefer_addrs: addrs(word()),
            message: "bye".into(),
        }),
        "reauth" => Frame::Reauth(wire::Reauth { within: wait(word()) }),
        "credit" => {
            let (tag, bytes) = (number(word()), number(word()));
            Frame::Credit(wire::Credit { tag, bytes, messages: 0 })
        }
        "ping" => Frame::Ping(wire::Ping { number: number(word()) }),
        "cancel-token" => {
            Frame::Cancel(wire::Cancel { tag: 0, token: word().expect("a token").to_owned().into() })
        }
        "cancel" => Frame::Cancel(wire::Cancel { tag: number(word()), ..Default::default() }),
        "chunk" => {
            let (tag, bytes) = (number(word()), number(word()) as usize);
            Frame::Chunk(wire::Chunk { tag, data: vec![0; bytes].into(), last: word() == Some("last") })
        }
        "same" => {
            let (tag, epoch) = (number(word()), number(word()));
            let (request_id, payload) = (word().expect("a request id").into(), word().expect("a payload"));
            Frame::Call(
                wire::Call {
                    tag,
                    token: Bytes::from(format!("t{tag}")),
                    epoch,
                    action: "work".into(),
                    remaining: wait(Some("30")),
                    request_id,
                    idempotent: true,
                    payload: Bytes::from(payload.to_owned()).slice(..payload.len().min(10)),
                    payload_bytes: payload.len() as u64,
                    ..wire::Call::default()
                }
                .into(),
            )
        }
        "call" => {
            let (tag, epoch) = (number(word()), number(word()));
            let (action, remaining) = (word().expect("an action").into(), wait(word()));
            let whole = word().map_or(2, |bytes| number(Some(bytes)));
            Frame::Call(
                wire::Call {
                    tag,
                    token: Bytes::from(format!("t{tag}")),
                    epoch,
                    action,
                    remaining,
                    payload: vec![0; whole.min(10) as usize].into(),
                    payload_bytes: whole,
                    ..wire::Call::default()
                }
                .into(),
            )
        }
        other => panic!("no command {other}"),
    };
    Input::Frame(link, slot, frame)
}

fn reply(bytes: usize) -> Outcome {
    Outcome::Reply {
        payload: vec![0; bytes].into(),
        content_type: String::new(),
        metadata: std::collections::HashMap::new(),
    }
}

fn tokens(tokens: &[Bytes]) -> String {
    let mut tokens: Vec<_> = tokens.iter().map(|token| String::from_utf8_lossy(token).into_owned()).collect();
    tokens.sort();
    tokens.join(",")
}

fn sent(frame: attach_request::Frame) -> String {
    use attach_request::Frame as Sent;
    match frame {
        Sent::Attach(attach) => format!(
            "attach {} number {} newest {} running [{}] finished [{}] gone [{}]{}",
            attach.device_id,
            attach.attach_number,
            attach.newest_epoch,
            tokens(&attach.running),
            tokens(&attach.finished),
            tokens(&attach.gone),
            if attach.lists_all { " all" } else { "" }
        ),
        Sent::Refused(refused) => {
            let reason = RefusedReason::try_from(refused.reason).expect("a reason").as_str_name();
            format!("refused tag {} {}", refused.tag, reason.trim_start_matches("REFUSED_REASON_"))
        }
        Sent::Cancelled(cancelled) => {
            let token = String::from_utf8_lossy(&cancelled.token);
            let token = if token.is_empty() { String::new() } else { format!(" token {token}") };
            format!("cancelled tag {} executed {}{token}", cancelled.tag, cancelled.executed)
        }
        Sent::Credit(credit) => format!("credit tag {} bytes {}", credit.tag, credit.bytes),
        Sent::Pong(pong) => format!("pong {}", pong.number),
        Sent::Detach(_) => "detach".into(),
        other => format!("{other:?}"),
    }
}

fn effect(effect: Effect) -> String {
    match effect {
        Effect::Dial(link, server) => format!("dial {} {server}", link.0),
        Effect::ChunkBytes(link, bytes) => format!("chunks {} of {bytes}", link.0),
        Effect::WaitForCredit(link) => format!("on credit {}", link.0),
        Effect::Credit(link, slot, tag, bytes) => {
            format!("may send {}/{slot} tag {tag} bytes {bytes}", link.0)
        }
        Effect::Discard(link, slot) => format!("discard {}/{slot}", link.0),
        Effect::Send(link, frame) => {
            format!("send {}/{} {}", link.0, frame.slot, sent(frame.frame.expect("a frame")))
        }
        Effect::Reply(link, slot, call, result) => format!(
            "reply {}/{slot} tag {} token {} epoch {} bytes {}{}{}",
            link.0,
            result.tag,
            String::from_utf8_lossy(&result.token),
            result.epoch,
            result.payload.len(),
            result.error.map(|error| format!(" error {:?}", error.message)).unwrap_or_default(),
            if call.is_some() { "" } else { " again" }
        ),
        Effect::Renew(link) => format!("renew {}", link.0),
        Effect::End(link) => format!("end {}", link.0),
        Effect::Drop(link) => format!("drop {}", link.0),
        Effect::Start(call, device, request, deadline) => {
            format!("start {} on d{} bytes {} until {deadline:?}", call.0, device + 1, request.payload.len())
        }
        Effect::Abort(call) => format!("abort {}", call.0),
        Effect::State(device, state) => format!("state d{} {state:?}", device + 1),
        Effect::Note(device, note) => format!("note d{} {note:?}", device + 1),
        Effect::Done => "done".into(),
    }
}

fn play(script: &str) -> String {
    let mut core = core(1, 2);
    let mut text = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(numbers) = line.strip_prefix("devices ") {
            let (devices, capacity) = numbers.split_once(' ').expect("devices and capacity");
            core = self::core(devices.parse().expect("devices"), capacity.parse().expect("capacity"));
            continue;
        }
        let (at, command) = line.split_once(' ').expect("a time and a command");
        let mut effects = Vec::new();
        core.handle(input(command), Moment { now: seconds(at), random: 0.5 }, &mut effects);
        writeln!(text, "> {line}").expect("text");
        for done in effects {
            writeln!(text, "  {}", effect(done)).expect("text");
        }
        writeln!(text, "  wake {:?}", core.wake_at()).expect("text");
    }
    text
}

#[test]
fn every_script_has_the_effects_that_it_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut scripts = 0;
    for entry in fs::read_dir(folder).expect("the folder of scripts") {
        let path = entry.expect("a script").path();
        let whole = fs::read_to_string(&path).expect("a script");
        let (script, expected) = whole.split_once("---\n").unwrap_or((&whole, ""));
        let effects = play(script);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, format!("{script}---\n{effects}")).expect("writable");
        } else {
            assert_eq!(effects, expected, "{}", path.display());
        }
        scripts += 1;
    }
    assert!(scripts > 0);
}
