//! Devices for tests: agents of the library with handlers that count, and agents as processes.

use std::{
    ffi::OsString,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use anyhow::{bail, ensure};
use bytes::Bytes;
use rollcall_agent::{Access, Agent, AgentHandle, AgentState, Call, HandlerError, Reply};

use tokio::sync::watch;

use crate::{
    Process, Scratch, binaries,
    history::{Journal, Sight},
    limits,
    wait::wait_until,
};

/// What a lab device's handlers have seen.
#[derive(Debug, Default)]
struct Counts {
    started: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    dropped: AtomicUsize,
}

/// A device to be built: an id, a group, and these actions.
///
/// `echo` gives the payload back; `sleep` takes as many milliseconds as the payload says; `blob` gives as many bytes as
/// the payload says; `fail` fails with the payload as message.
#[derive(Debug, Clone)]
pub struct Lab {
    device_id: String,
    groups: Vec<String>,
    labels: Vec<(String, String)>,
    capacity: u32,
    journal: Option<Arc<Journal>>,
    access: Access,
}

impl Lab {
    /// A device for one call at a time.
    pub fn new(device_id: &str, group: &str) -> Self {
        Self {
            device_id: device_id.into(),
            groups: vec![group.into()],
            labels: Vec::new(),
            capacity: 1,
            journal: None,
            access: Access::default(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }

    /// Comes in so.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// How many calls it takes at once.
    #[must_use]
    pub fn capacity(mut self, calls: u32) -> Self {
        self.capacity = calls;
        self
    }

    /// Writes what the device sees into this journal: its sessions, and each execution.
    #[must_use]
    pub fn journal(mut self, journal: &Arc<Journal>) -> Self {
        self.journal = Some(journal.clone());
        self
    }

    /// Starts the agent, and waits until it is attached to one of these servers.
    ///
    /// # Errors
    /// It is not attached in time.
    pub async fn attach(self, servers: &[String]) -> anyhow::Result<LabDevice> {
        let device = self.start(servers);
        device.attached(limits::SPREAD_PATIENCE).await?;
        Ok(device)
    }

    /// Starts the agent, and waits for nothing.
    pub fn start(self, servers: &[String]) -> LabDevice {
        let counts = Arc::new(Counts::default());
        let mut agent = Agent::builder(servers.to_vec())
            .in_order()
            .access(self.access)
            .device(self.device_id.clone())
            .capacity(self.capacity);
        for group in &self.groups {
            agent = agent.group(group);
        }
        for (key, value) in &self.labels {
            agent = agent.label(key, value);
        }
        let process = self.journal.as_ref().map_or(0, |journal| journal.process());
        let agent = [
            ("echo", Action::Echo),
            ("sleep", Action::Sleep),
            ("blob", Action::Blob),
            ("fail", Action::Fail),
        ]
        .into_iter()
        .fold(agent, |agent, (name, action)| {
            let (counts, journal) = (counts.clone(), self.journal.clone());
            agent.action(name, move |call: Call| {
                let running = Running::begin(&counts, process, &call, journal.clone());
                action.run(call, running)
            })
        });
        let agent = agent.start();
        if let Some(journal) = self.journal {
            tokio::spawn(note_sessions(journal, self.device_id.clone(), agent.state()));
        }
        LabDevice { device_id: self.device_id, agent, counts }
    }
}

/// Counts a handler while it runs; one that is dropped before its end counts as dropped.
struct Running {
    counts: Arc<Counts>,
    noted: Option<(Arc<Journal>, usize)>,
    ended: bool,
}

/// Notes each session that the agent is told of, until the agent is gone. Between two, it asks for the next.
async fn note_sessions(journal: Arc<Journal>, device_id: String, mut state: watch::Receiver<AgentState>) {
    let (mut asked, mut newest) = (journal.now(), 0);
    journal.saw(&device_id, asked, Sight::MaybeOpened);
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        match now {
            AgentState::Attached { epoch, .. } if epoch != newest => {
                newest = epoch;
                journal.saw(&device_id, asked, Sight::Opened(epoch));
                asked = journal.now();
            }
            _ => {}
        }
    }
}

impl Running {
    fn begin(counts: &Arc<Counts>, process: u64, call: &Call, journal: Option<Arc<Journal>>) -> Self {
        counts.started.fetch_add(1, SeqCst);
        let now = counts.running.fetch_add(1, SeqCst) + 1;
        counts.most.fetch_max(now, SeqCst);
        let noted = journal.map(|journal| {
            let number = journal.started(&call.device_id, process, &call.request_id, call.epoch);
            (journal, number)
        });
        Self { counts: counts.clone(), noted, ended: false }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.counts.running.fetch_sub(1, SeqCst);
        if let Some((journal, number)) = &self.noted {
            journal.finished(*number);
        }
        if !self.ended {
            self.counts.dropped.fetch_add(1, SeqCst);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Echo,
    Sleep,
    Blob,
    Fail,
}

impl Action {
    async fn run(self, call: Call, mut running: Running) -> Result<Reply, HandlerError> {
        let answer = self.answer(call).await;
        running.ended = true;
        answer
    }

    async fn answer(self, call: Call) -> Result<Reply, HandlerError> {
        let text = String::from_utf8_lossy(&call.payload).into_owned();
        match self {
            Self::Echo => Ok(Reply::from(call.payload).content_type(call.content_type)),
            Self::Sleep => {
                tokio::time::sleep(Duration::from_millis(text.parse()?)).await;
                Ok(Reply::from(call.payload))
            }
            Self::Blob => Ok(Reply::from(Bytes::from(vec![b'b'; text.parse()?]))),
            Self::Fail => Err(HandlerError::new(text)),
        }
    }
}

/// A device of the agent library, in the test's own process.
#[derive(Debug)]
pub struct LabDevice {
    /// Its id.
    pub device_id: String,
    agent: AgentHandle,
    counts: Arc<Counts>,
}

impl LabDevice {
    /// What its agent is doing.
    pub fn state(&self) -> AgentState {
        self.agent.state().borrow().clone()
    }

    /// Waits until it is attached; gives the holder's name and the epoch.
    ///
    /// # Errors
    /// It is not in time.
    pub async fn attached(&self, patience: Duration) -> anyhow::Result<(String, u64)> {
        wait_until(&format!("{} is attached", self.device_id), patience, async || match self.state() {
            AgentState::Attached { node, epoch } => Ok((node, epoch)),
            other => bail!("its agent is {other:?}"),
        })
        .await
    }

    /// Handlers that have started.
    pub fn started(&self) -> usize {
        self.counts.started.load(SeqCst)
    }

    /// Handlers that run now.
    pub fn running(&self) -> usize {
        self.counts.running.load(SeqCst)
    }

    /// The most handlers that ever ran at once.
    pub fn most_at_once(&self) -> usize {
        self.counts.most.load(SeqCst)
    }

    /// Handlers that were dropped before their end.
    pub fn dropped(&self) -> usize {
        self.counts.dropped.load(SeqCst)
    }

    /// Waits until so many handlers run.
    ///
    /// # Errors
    /// They do not in time.
    pub async fn runs(&self, handlers: usize) -> anyhow::Result<()> {
        let what = format!("{} runs {handlers} handlers", self.device_id);
        wait_until(&what, limits::SPREAD_PATIENCE, async || {
            let running = self.running();
            ensure!(running == handlers, "it runs {running}");
            Ok(())
        })
        .await
    }

    /// Detaches it and waits for its end.
    pub async fn shutdown(self) {
        self.agent.shutdown().await;
    }
}

/// A `rollcall-agent` process.
#[derive(Debug)]
pub struct AgentProcess {
    /// The process.
    pub process: Process,
}

impl AgentProcess {
    /// Starts `rollcall-agent` for a device of a group with these actions, each `NAME=HANDLER`.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start(
        scratch: &Scratch,
        servers: &[String],
        device_id: &str,
        group: &str,
        actions: &[&str],
    ) -> anyhow::Result<Self> {
        let mut arguments: Vec<OsString> = vec!["--server".into(), servers.join(",").into()];
        arguments.extend(["--device-id".into(), device_id.into(), "--group".into(), group.into()]);
        for action in actions {
            arguments.extend(["--action".into(), action.into()]);
        }
        let log = scratch.path().join(format!("agent-{device_id}.log"));
        let process = Process::spawn(device_id, &binaries().await?.agent, &arguments, &log)?;
        Ok(Self { process })
    }
}
