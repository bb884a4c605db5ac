//! `exec:COMMAND`: each call runs a program of its own, payload on standard input, reply from standard output.

use std::{io, process::Stdio};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
};

use super::InvalidHandler;
use crate::{
    call::{Call, HandlerError, Reply},
    handler::Handler,
    limits,
};

/// Runs a program without a shell.
///
/// The program finds the call's names in `ROLLCALL_ACTION`, `ROLLCALL_REQUEST_ID`, `ROLLCALL_DEVICE_ID`,
/// `ROLLCALL_NAMESPACE`, `ROLLCALL_GROUP` and `ROLLCALL_CONTENT_TYPE`. It runs in a process group of its own, all of which
/// is killed when the caller gives up or its deadline passes. Replies above 16 MiB are an error.
#[derive(Debug, Clone)]
pub struct Exec {
    program: String,
    arguments: Vec<String>,
}

impl Exec {
    /// Splits a command into words as a shell would: quotes and backslashes count; variables, globs and pipes do not.
    ///
    /// # Errors
    /// If there is no word or a quote is left open.
    pub fn parse(command: &str) -> Result<Self, InvalidHandler> {
        let invalid = |why: &str| InvalidHandler::Command(format!("{command:?}: {why}"));
        let mut words = shell_words::split(command).map_err(|error| invalid(&error.to_string()))?.into_iter();
        let program = words.next().ok_or_else(|| invalid("no command"))?;
        Ok(Self { program, arguments: words.collect() })
    }

    fn spawn(&self, call: &Call) -> io::Result<Group> {
        Command::new(&self.program)
            .args(&self.arguments)
            .env("ROLLCALL_ACTION", &call.action)
            .env("ROLLCALL_REQUEST_ID", &call.request_id)
            .env("ROLLCALL_DEVICE_ID", &*call.device_id)
            .env("ROLLCALL_NAMESPACE", &*call.namespace)
            .env("ROLLCALL_GROUP", &call.group)
            .env("ROLLCALL_CONTENT_TYPE", &call.content_type)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map(Group)
    }
}

impl Handler for Exec {
    async fn handle(&self, call: Call) -> Result<Reply, HandlerError> {
        let failed =
            |what: &str, error: io::Error| HandlerError::new(format!("{}: {what}: {error}", self.program));
        let mut group = self.spawn(&call).map_err(|error| failed("cannot start", error))?;
        let (stdin, stdout, stderr) = (group.0.stdin.take(), group.0.stdout.take(), group.0.stderr.take());
        let (fed, reply, tail) =
            tokio::join!(feed(stdin, &call.payload), read_reply(stdout), read_tail(stderr));
        fed.map_err(|error| failed("its standard input", error))?;
        let reply = reply.map_err(|error| failed("its standard output", error))?;
        let status = group.0.wait().await.map_err(|error| failed("its end", error))?;
        if !status.success() {
            return Err(HandlerError::new(format!("{}: {status}: {}", self.program, tail.trim_end())));
        }
        Ok(Reply::from(reply))
    }
}

/// A program and what it has started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // Without an id the program has been waited for: the group may be somebody else's by now.
        let pid = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself meanwhile.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// A program need not read its input to the end.
async fn feed(stdin: Option<ChildStdin>, payload: &Bytes) -> io::Result<()> {
    let Some(mut stdin) = stdin else { return Ok(()) };
    match stdin.write_all(payload).await {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Reads to the end; what is above the limit of a payload is an error at once, so that memory stays bounded.
async fn read_reply(stdout: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let Some(stdout) = stdout else { return Ok(reply) };
    stdout.take(limits::PAYLOAD_BYTES + 1).read_to_end(&mut reply).await?;
    if reply.len() as u64 > limits::PAYLOAD_BYTES {
        return Err(io::Error::other(format!("more than {} bytes", limits::PAYLOAD_BYTES)));
    }
    Ok(reply)
}

/// Reads to the end and keeps the last of it.
async fn read_tail(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let mut tail = Vec::new();
    let mut part = [0; 4096];
    let Some(mut stderr) = stderr else { return String::new() };
    while let Ok(length @ 1..) = stderr.read(&mut part).await {
        tail.extend_from_slice(&part[..length]);
        tail.drain(..tail.len().saturating_sub(limits::STDERR_TAIL_BYTES));
    }
    String::from_utf8_lossy(&tail).into_owned()
}
