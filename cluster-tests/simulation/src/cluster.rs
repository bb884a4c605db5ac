//! The machines of a run, their wires and clients, and the time that passes for all of them.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use rollcall_cluster_tests::invariants::Violation;
use rollcall_registry::{ClusterStatus, Registry, model::ids::NodeId, storage::memory::SyncPolicy};
use tempfile::TempDir;

use crate::{
    chance::Chance,
    clients::Clients,
    faults::{Fault, Isolation},
    followed::Followed,
    limits::{DISK, LOOK_EVERY_STEPS, MACHINES, STEP},
    machine::{Belief, Machine},
    network::{Network, Silence, Wire},
    outcome::Coverage,
    scenario::{Planted, Scenario},
    trace::Trace,
};

/// A cluster under simulation.
pub(crate) struct Cluster {
    pub(crate) now: Duration,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    pub(crate) followed: Followed,
    pub(crate) clients: Clients,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    steps: u64,
    /// Who led in each term.
    leaders: BTreeMap<u64, NodeId>,
    violations: Vec<Violation>,
    /// Goes last: the machines' folders.
    _dir: TempDir,
}

impl Cluster {
    /// The machines of a scenario, none of which has a node yet.
    pub(crate) fn new(scenario: &Scenario, trace: Trace) -> Result<Self> {
        // Folders are small, and what they have is made durable: a disk in memory does it without waiting.
        let dir = tempfile::Builder::new().prefix("rollcall-simulation").tempdir_in(ground())?;
        let seed = scenario.seed;
        let network = Network::new(Chance::of(seed, 1), trace.clone());
        let followed = Followed::new(network.clone(), trace.clone());
        let policy =
            if scenario.planted == Planted::DisksClaim { SyncPolicy::Claimed } else { SyncPolicy::WhenTold };
        let mut clocks = Chance::of(seed, 2);
        let machine = |number: usize| {
            let (chance, dir) = (Chance::of(seed, 10 + number as u64), dir.path().join(format!("m{number}")));
            let mut machine = Machine::new(number, dir, policy, chance, network.clone(), followed.clone());
            machine.rate = clocks.between(0.99, 1.01);
            if scenario.planted == Planted::ClockCrawls && number == Isolation::of(seed).machine {
                machine.rate = 0.6;
            }
            machine
        };
        let machines = (0..MACHINES).map(machine).collect();
        let clients = Clients::new(Chance::of(seed, 3), network.clone(), followed.clone(), trace.clone());
        Ok(Self {
            now: Duration::ZERO,
            machines,
            network,
            followed,
            clients,
            trace,
            coverage: Coverage::default(),
            steps: 0,
            leaders: BTreeMap::new(),
            violations: Vec::new(),
            _dir: dir,
        })
    }

    /// Passes one step of time.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        self.network.advance(self.now);
        let now = self.now;
        let beliefs: Vec<_> = self.machines.iter_mut().map(|machine| machine.step(now)).collect();
        beliefs.iter().flatten().for_each(|belief| self.judge_lease(belief));
        self.steps += 1;
        if self.steps.is_multiple_of(LOOK_EVERY_STEPS) {
            (0..MACHINES).for_each(|machine| self.judge_node(machine));
        }
    }

    /// What a node that runs says of the cluster.
    pub(crate) fn status(&self, machine: usize) -> Option<ClusterStatus> {
        let machine = &self.machines[machine];
        if !machine.is_running(self.now) {
            return None;
        }
        machine.look(Registry::status)
    }

    fn judge_lease(&mut self, belief: &Belief) {
        let Belief { node, incarnation, holds_lease } = *belief;
        let ended = self.followed.ended(node, incarnation).filter(|since| holds_lease && *since < self.now);
        if let Some(since) = ended {
            let now = self.now;
            let what = format!(
                "at {now:?} node {node} holds the lease of its life {incarnation}, over since {since:?}"
            );
            self.violation("no_lease_outlives_its_life", what);
        }
    }

    fn judge_node(&mut self, machine: usize) {
        let Some(status) = self.status(machine) else { return };
        let node = status.node;
        if status.leader == Some(node) && node != NodeId(0) {
            let leader = *self.leaders.entry(status.term).or_insert(node);
            if leader != node {
                let what = format!("{leader} and {node} lead in term {}", status.term);
                self.violation("one_leader_a_term", what);
            }
        }
        if let Some(why) = self.machines[machine].end() {
            self.violation("no_node_stops_by_itself", format!("machine {machine}: {why}"));
        }
    }

    fn violation(&mut self, invariant: &'static str, what: String) {
        // What lasts is said once.
        if !self.violations.iter().any(|violation| violation.invariant == invariant) {
            self.trace.line(self.now, format_args!("VIOLATION {invariant}: {what}"));
            self.violations.push(Violation::of(invariant, what));
        }
    }

    /// Breaks or mends something.
    pub(crate) fn apply(&mut self, fault: Fault) {
        self.trace.line(self.now, format_args!("fault {fault:?}"));
        match fault {
            Fault::Wire(from, to, wire) => self.network.set(from, to, wire),
            Fault::Crash(machine, silent) => self.crash(machine, silent),
            Fault::Start(machine) => self.start(machine),
            Fault::Pause(machine, lasts) => {
                let machine = &mut self.machines[machine];
                machine.paused_until = machine.paused_until.max(self.now + lasts);
                self.coverage.pauses += 1;
            }
            Fault::Disk(machine, takes) => self.machines[machine].disk_takes = takes,
            Fault::Compact(machine) => drop(self.machines[machine].spawn(|registry| async move {
                // It may not get through while things are broken.
                let _ = registry.compact_log().await;
            })),
        }
    }

    fn crash(&mut self, machine: usize, silent: Silence) {
        if self.machines[machine].registry().is_none() {
            return;
        }
        let lost = self.machines[machine].crash(silent);
        self.machines[machine].paused_until = self.now;
        self.clients.gone(machine);
        self.trace.line(self.now, format_args!("machine {machine} lost {lost} writes"));
        self.coverage.crashes += 1;
        self.coverage.lost_writes += lost as u64;
    }

    pub(crate) fn start(&mut self, machine: usize) {
        if self.machines[machine].registry().is_some() {
            return;
        }
        if let Err(error) = self.machines[machine].start(self.now) {
            self.violation("no_node_stops_by_itself", format!("{error:#}"));
        }
    }

    /// Mends everything: wires, disks, machines.
    pub(crate) fn heal(&mut self) {
        for machine in 0..MACHINES {
            for other in 0..MACHINES {
                self.apply(Fault::Wire(machine, other, Wire::default()));
            }
            self.apply(Fault::Disk(machine, DISK));
            self.machines[machine].paused_until = self.machines[machine].paused_until.min(self.now);
            self.start(machine);
        }
    }

    /// What was violated so far.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        [self.violations.clone(), self.followed.take_violations(), self.clients.violations()].concat()
    }

    /// What happened so far.
    pub(crate) fn coverage(&self) -> Coverage {
        Coverage {
            leaders: self.leaders.len() as u64,
            cut_messages: self.network.cut_messages(),
            lives_ended: self.followed.lives_ended(),
            snapshots: self.followed.snapshots(),
            ..self.coverage
        }
    }
}

fn ground() -> std::path::PathBuf {
    let memory = std::path::PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}
