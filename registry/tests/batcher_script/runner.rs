//! Runs a script's inputs against one batcher and writes down its effects.

use std::{fmt::Write, sync::Arc};

use rollcall_registry::{
    batcher::core::{Batcher, Completion, Effect, Ticket},
    clock::Moment,
    handle::ChangeError,
    model::{
        command::{ChangeKind, Command, OpenSession, SessionChange},
        event::BatchOutcome,
        ids::{AttachNumber, BatchNumber, DeviceKey, Epoch, Incarnation, InstanceId, LogIndex, NodeId},
        profile::Profile,
        rejection::ChangeRejection,
    },
};

const NODE: NodeId = NodeId(1);

pub(crate) struct Runner {
    core: Batcher,
    now: u64,
    effects: Vec<Effect>,
}

impl Runner {
    pub(crate) fn new() -> Self {
        Self { core: Batcher::new(NODE), now: 0, effects: Vec::new() }
    }

    pub(crate) fn run(&mut self, inputs: &str) -> String {
        let mut written = String::new();
        for line in inputs.lines().filter(|line| !line.starts_with('#')) {
            self.input(line);
            for effect in std::mem::take(&mut self.effects) {
                writeln!(written, "{}", show(&effect)).unwrap();
            }
            if line == "wait" {
                let nap = self.core.next_poll(Moment::from_millis(self.now));
                let nap = nap.map_or("nothing to do".to_owned(), |nap| format!("{} ms", nap.as_millis()));
                writeln!(written, "{nap}, {} pending", self.core.pending()).unwrap();
            }
        }
        written
    }

    fn input(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "new" => *self = Self::new(),
            "registered" => self.core.registered(Incarnation(number(words[1])), &mut self.effects),
            "lapsed" => self.core.lapsed(&mut self.effects),
            "open" => self.submit(words[1], ChangeKind::Open(open(value(line, "bytes"))), line),
            "close" => self.submit(words[1], ChangeKind::Close(epoch(words[2])), line),
            "opens" => {
                for ticket in 1..=number(words[1]) {
                    self.submit(&format!("d{ticket}"), ChangeKind::Open(open(None)), "");
                }
            }
            "closes" => {
                for of in 1..=number(words[1]) {
                    self.submit(&format!("d{of}"), ChangeKind::Close(Epoch(of)), "");
                }
            }
            "at" => self.now = number(words[1]),
            "poll" => self.core.poll(Moment::from_millis(self.now), &mut self.effects),
            "answer" => {
                let committed = words[2] == "committed";
                let batch = BatchNumber(number(words[1]));
                self.core.proposal_ended(batch, committed, Moment::from_millis(self.now));
            }
            "applied" => self.core.applied(
                &outcome(&words, line),
                |index, at| Epoch::new(0, index, at),
                &mut self.effects,
            ),
            "wait" => {}
            other => panic!("unknown input {other}"),
        }
    }

    fn submit(&mut self, device: &str, kind: ChangeKind, line: &str) {
        let change = SessionChange { device: DeviceKey::new("", device), kind };
        let deadline = Moment::from_millis(value(line, "until").unwrap_or(1_000_000));
        self.core.submit(change, value(line, "ticket").map(Ticket), deadline);
    }
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

fn value(line: &str, key: &str) -> Option<u64> {
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .find(|(k, _)| *k == key)
        .map(|(_, v)| number(v))
}

/// `index.position`.
fn epoch(word: &str) -> Epoch {
    let (index, position) = word.split_once('.').unwrap();
    Epoch::new(0, LogIndex(number(index)), position.parse().unwrap())
}

fn show_epoch(epoch: Epoch) -> String {
    format!("{}.{}", epoch.0 >> 12, epoch.0 & 0xfff)
}

fn open(bytes: Option<u64>) -> OpenSession {
    let fill = "x".repeat(usize::try_from(bytes.unwrap_or(0)).unwrap());
    OpenSession {
        instance: InstanceId(1),
        attach_number: AttachNumber(1),
        profile: Arc::new(Profile::new(["g"], [("fill", fill.as_str())], ["echo"], 1)),
        remote_addr: "".into(),
        only_if: None,
    }
}

/// `applied NUMBER INDEX [inc=] [node=] [refused=POSITION]`
fn outcome(words: &[&str], line: &str) -> BatchOutcome {
    let refused = value(line, "refused").map(|at| (at as u32, ChangeRejection::Disabled));
    BatchOutcome {
        node: NodeId(value(line, "node").unwrap_or(NODE.0)),
        incarnation: Incarnation(value(line, "inc").unwrap_or(10)),
        number: BatchNumber(number(words[1])),
        index: LogIndex(number(words[2])),
        refused: refused.into_iter().collect(),
    }
}

fn show(effect: &Effect) -> String {
    match effect {
        Effect::Propose(command) => match &**command {
            Command::Batch(batch) => {
                let changes = match batch.changes.len() {
                    many @ 5.. => format!("{many} changes"),
                    _ => batch.changes.iter().map(show_change).collect::<Vec<_>>().join(", "),
                };
                format!("propose batch {} of {}: {changes}", batch.number, batch.incarnation)
            }
            other => panic!("the batcher proposed {other}"),
        },
        Effect::Complete(Ticket(ticket), Completion::Done(opened)) => {
            format!("ticket {ticket}: done, {} at {}", show_epoch(opened.epoch), opened.index)
        }
        Effect::Complete(Ticket(ticket), Completion::Failed(error)) => {
            let error = match error {
                ChangeError::NoLeader { .. } => "no leader".to_owned(),
                ChangeError::Lapsed => "lapsed".to_owned(),
                other => other.to_string(),
            };
            format!("ticket {ticket}: {error}")
        }
    }
}

fn show_change(change: &SessionChange) -> String {
    match &change.kind {
        ChangeKind::Open(_) => format!("open {}", change.device.device),
        ChangeKind::Close(epoch) => format!("close {} {}", change.device.device, show_epoch(*epoch)),
        ChangeKind::Update(epoch, _) => format!("update {} {}", change.device.device, show_epoch(*epoch)),
    }
}
