//! The command line of `rollcall-agent`, and what it does with it.

use std::{future::Future, io::IsTerminal, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Parser, ValueEnum};
use rollcall_transport::{Access, AccessFiles, IdentityFiles, TlsError};
use tokio::runtime::{self, Handle, Runtime};
use tracing_subscriber::EnvFilter;

use crate::{
    agent::{Agent, AgentHandle},
    handlers::{self, Chosen},
    limits,
    state::StopReason,
};

const EXIT_CODES: &str = "\
Handlers:
  echo              the reply is the call's payload
  exec:COMMAND      runs COMMAND without a shell (split into words as a shell would); the payload is its standard
                    input, the reply its standard output; a non-zero exit is a device error with the end of its
                    standard error; it is killed when the caller gives up or its deadline passes
  http://HOST/PATH  posts the payload there; the reply is the response's body; a status other than 2xx is a device error
  block             for drills: blocks the thread that all handlers share for as many milliseconds as the payload says

Exit codes:
  0  stopped by SIGTERM, SIGINT or Ctrl-C, after running calls had finished
  1  something inside failed
  2  the command line or the environment is wrong, or nothing of it can be attached
  3  refused for good: the node says that the device is malformed (INVALID)
  4  refused for good: no common protocol version (VERSION); upgrade the agent or the cluster
  5  refused for good: the credentials were not accepted (UNAUTHENTICATED)
  6  refused for good: the agent broke the protocol (PROTOCOL_ERROR)

Everything else (no server reachable, SUPERSEDED, FORBIDDEN, overload) is tried again for ever.
RUST_LOG, if set, takes the place of --log-level.";

/// Attaches a device to a Rollcall cluster and answers its calls.
#[derive(Parser)]
#[command(name = "rollcall-agent", version, after_help = EXIT_CODES)]
pub struct Options {
    /// Nodes' device listeners, separated by commas. The first to be tried is drawn at random.
    #[arg(long, env = "ROLLCALL_AGENT_SERVER", value_name = "URL", value_delimiter = ',', required = true)]
    server: Vec<String>,
    /// The device's id, unique in its namespace: 1 to 128 bytes.
    #[arg(long, env = "ROLLCALL_AGENT_DEVICE_ID", value_name = "ID")]
    device_id: String,
    /// A group that the device belongs to; repeatable, 1 to 16.
    #[arg(long, env = "ROLLCALL_AGENT_GROUP", value_name = "GROUP", value_delimiter = ',', required = true)]
    group: Vec<String>,
    /// The device's namespace.
    #[arg(long, env = "ROLLCALL_AGENT_NAMESPACE", value_name = "NAMESPACE", default_value = "default")]
    namespace: String,
    /// A label; repeatable, at most 32.
    #[arg(long, env = "ROLLCALL_AGENT_LABEL", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = pair)]
    label: Vec<(String, String)>,
    /// How many calls the device takes at once: 1 to 65,536.
    #[arg(long, env = "ROLLCALL_AGENT_CAPACITY", value_name = "CALLS", default_value_t = 1)]
    capacity: u32,
    /// An action and its handler; repeatable. In the environment, one a line.
    #[arg(long, env = "ROLLCALL_AGENT_ACTION", value_name = "NAME=HANDLER", value_delimiter = '\n', value_parser = action, required = true)]
    action: Vec<(String, Chosen)>,
    /// How long running calls may go on after a signal to stop, in seconds.
    #[arg(long, env = "ROLLCALL_AGENT_GRACE_S", value_name = "SECONDS", default_value_t = 10)]
    grace_s: u64,
    /// PEM file with the authorities whose nodes are trusted, for https:// servers; by default the system's.
    #[arg(long, env = "ROLLCALL_AGENT_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// PEM file with the device's certificate.
    #[arg(long, env = "ROLLCALL_AGENT_CERT", value_name = "PATH", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file with its key.
    #[arg(long, env = "ROLLCALL_AGENT_KEY", value_name = "PATH", requires = "cert")]
    key: Option<PathBuf>,
    /// File with the device's token and nothing else; read again at each connection.
    #[arg(long, env = "ROLLCALL_AGENT_TOKEN_FILE", value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, env = "ROLLCALL_AGENT_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or a filter as tracing knows it.
    #[arg(long, env = "ROLLCALL_AGENT_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl Options {
    /// Sends log lines to standard error.
    ///
    /// # Errors
    /// If the filter cannot be understood, or lines are sent somewhere already.
    pub fn log(&self) -> anyhow::Result<()> {
        let filter = match std::env::var("RUST_LOG") {
            Ok(filter) => EnvFilter::try_new(filter)?,
            Err(_) => EnvFilter::try_new(&self.log_level)?,
        };
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        let installed = match self.log_format {
            LogFormat::Text => lines.with_target(false).try_init(),
            LogFormat::Json => lines.json().flatten_event(true).try_init(),
        };
        installed.map_err(|error| anyhow::anyhow!(error))
    }

    fn access(&self) -> Result<Access, TlsError> {
        let own = self.cert.clone().zip(self.key.clone());
        let identity = own.map(|(certificate, key)| IdentityFiles { certificate, key });
        Access::load(AccessFiles { ca: self.ca.clone(), identity, token: self.token_file.clone() })
    }

    fn start(self, access: Access, handlers: Handle) -> AgentHandle {
        let mut agent = Agent::builder(self.server)
            .access(access)
            .handlers_on(handlers)
            .device(self.device_id)
            .namespace(self.namespace)
            .capacity(self.capacity);
        for group in self.group {
            agent = agent.group(group);
        }
        for (key, value) in self.label {
            agent = agent.label(key, value);
        }
        for (name, handler) in self.action {
            agent = agent.any_action(name, handler.0);
        }
        agent.start()
    }
}

/// The runtime of the handlers: one that hangs there leaves the connection alive.
struct Handlers(Option<Runtime>);

impl Handlers {
    fn start() -> std::io::Result<Self> {
        let mut runtime = runtime::Builder::new_multi_thread();
        runtime.worker_threads(limits::HANDLER_THREADS).thread_name("handlers").enable_all();
        runtime.build().map(|runtime| Self(Some(runtime)))
    }

    fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        // A handler that hangs must not keep the process.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs the agent until `signal` resolves or it is over for good.
///
/// # Errors
/// The handlers' threads cannot be started.
pub async fn run(options: Options, signal: impl Future<Output = &'static str>) -> anyhow::Result<ExitCode> {
    let grace = Duration::from_secs(options.grace_s);
    let access = match options.access() {
        Ok(access) => access,
        Err(error) => {
            tracing::error!(%error, "the configuration cannot be used");
            return Ok(ExitCode::from(2));
        }
    };
    let handlers = Handlers::start().context("cannot start the handlers' threads")?;
    let agent = options.start(access, handlers.handle());
    let reason = tokio::select! {
        name = signal => {
            tracing::info!(signal = name, ?grace, "stopping: running calls may finish");
            agent.shutdown_within(grace).await;
            return Ok(ExitCode::SUCCESS);
        }
        reason = agent.stopped() => reason,
    };
    agent.shutdown_within(Duration::ZERO).await;
    Ok(exit_code(&reason))
}

fn exit_code(reason: &StopReason) -> ExitCode {
    use rollcall_proto::device::CloseCode;
    ExitCode::from(match reason {
        StopReason::Shutdown => 1,
        StopReason::Invalid(_) => 2,
        StopReason::Refused { code: CloseCode::Version, .. } => 4,
        StopReason::Refused { code: CloseCode::Unauthenticated, .. } => 5,
        StopReason::Refused { code: CloseCode::ProtocolError, .. } => 6,
        StopReason::Refused { .. } => 3,
    })
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn action(text: &str) -> Result<(String, Chosen), String> {
    let (name, handler) = text.split_once('=').ok_or("must be NAME=HANDLER")?;
    let handler = handlers::parse(handler).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), handler))
}
