//! Who changes and reads sessions, on all machines at once, and what they saw.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rollcall_cluster_tests::{
    history::{OwnershipRecord, Sight},
    invariants::Violation,
};
use rollcall_registry::{
    ChangeError, Opened, Registrar, Registry,
    model::{
        command::OpenSession,
        ids::{AttachNumber, DeviceKey, Epoch, InstanceId},
        profile::Profile,
    },
    routes::view::Route,
};

use crate::{
    chance::Chance,
    followed::Followed,
    limits::{CLIENT_PAUSE, DEVICES, MACHINES},
    machine::Machine,
    network::Network,
    trace::Trace,
};

/// How long a reader waits for its own replica.
const READER_PATIENCE: Duration = Duration::from_secs(2);

/// What the clients know, together.
#[derive(Default)]
struct Seen {
    sights: Vec<OwnershipRecord>,
    /// Opens that are under way: who asked, where and when.
    opening: Vec<(u64, String, Duration)>,
    /// The newest session of each device that anybody was told of.
    newest: [Option<Epoch>; DEVICES],
    acknowledged: Vec<(DeviceKey, Opened)>,
    /// Machines on which somebody reads.
    reading: [bool; MACHINES],
    /// The probe of each machine: the last that was answered.
    probed: [u64; MACHINES],
}

/// The clients of a run.
pub(crate) struct Clients {
    seen: Arc<Mutex<Seen>>,
    chance: Chance,
    network: Network,
    followed: Followed,
    trace: Trace,
    next: Duration,
    count: u64,
}

/// What one client needs.
struct Client {
    seen: Arc<Mutex<Seen>>,
    network: Network,
    trace: Trace,
    machine: usize,
    /// Its number; also the order of attaches.
    number: u64,
    device: usize,
}

impl Clients {
    pub(crate) fn new(chance: Chance, network: Network, followed: Followed, trace: Trace) -> Self {
        Self { seen: Arc::default(), chance, network, followed, trace, next: Duration::ZERO, count: 0 }
    }

    /// Lets clients act that are due. All draws are made whatever the cluster does.
    pub(crate) fn step(&mut self, now: Duration, machines: &[Machine]) {
        if self.next > now {
            return;
        }
        self.next = now + self.chance.time(Duration::from_millis(1), CLIENT_PAUSE);
        let (machine, device, what) =
            (self.chance.below(MACHINES), self.chance.below(DEVICES), self.chance.below(10));
        let client = self.client(machine, device);
        match what {
            0..5 => drop(machines[machine].spawn(|registry| client.open(registry))),
            5..7 => drop(machines[machine].spawn(|registry| client.close(registry))),
            _ => drop(machines[machine].spawn(|registry| client.read(registry))),
        }
    }

    /// Has a client on this machine open a session; its number.
    pub(crate) fn probe(&mut self, machine: usize, machines: &[Machine]) -> u64 {
        let client = self.client(machine, machine % DEVICES);
        let number = client.number;
        drop(machines[machine].spawn(|registry| client.open(registry)));
        number
    }

    /// Whether a probe was answered by an acknowledged open, or a later one was.
    pub(crate) fn answered(&self, machine: usize, probe: u64) -> bool {
        self.seen.lock().probed[machine] >= probe
    }

    fn client(&mut self, machine: usize, device: usize) -> Client {
        self.count += 1;
        Client {
            seen: Arc::clone(&self.seen),
            network: self.network.clone(),
            trace: self.trace.clone(),
            machine,
            number: self.count,
            device,
        }
    }

    /// The clients of a machine are gone with it: nobody knows what became of their changes.
    pub(crate) fn gone(&self, machine: usize) {
        self.seen.lock().reading[machine] = false;
    }

    /// All that was seen; opens that are still under way may happen.
    pub(crate) fn sights(&self) -> Vec<OwnershipRecord> {
        let (seen, to) = (self.seen.lock(), self.network.now());
        let opening = seen.opening.iter().map(|(_, device, from)| OwnershipRecord {
            device_id: device.clone(),
            from: *from,
            to,
            sight: Sight::MaybeOpened,
        });
        seen.sights.iter().cloned().chain(opening).collect()
    }

    /// What was acknowledged and is in no replica's log.
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let seen = self.seen.lock();
        let lost = seen
            .acknowledged
            .iter()
            .filter(|(device, opened)| !self.followed.opened(opened.index, device, opened.epoch));
        let lost = lost.map(|(device, opened)| {
            let what = format!("{device}: {opened:?} was acknowledged, and no replica's log has it");
            Violation::of("acknowledged_opens_kept", what)
        });
        lost.collect()
    }
}

impl Client {
    fn key(&self) -> DeviceKey {
        DeviceKey::new("", &format!("d{}", self.device))
    }

    async fn open(self, registry: Registry) {
        let (device, from) = (self.key(), self.network.now());
        self.seen.lock().opening.push((self.number, device.device.to_string(), from));
        let open = OpenSession {
            // Two agent processes a device, so that one takes it from the other.
            instance: InstanceId(self.number % 2 + 1),
            attach_number: AttachNumber(self.number),
            profile: Arc::new(Profile::new(["sign"], [("site", "a")], ["echo"], 1)),
            remote_addr: "192.0.2.1:1".into(),
            only_if: None,
        };
        let opened = registry.open(device.clone(), open).await;
        self.say(format_args!("open {device}: {opened:?}"));
        let mut seen = self.seen.lock();
        seen.opening.retain(|(number, ..)| *number != self.number);
        let sight = match opened {
            Ok(opened) => {
                seen.newest[self.device] = seen.newest[self.device].max(Some(opened.epoch));
                seen.probed[self.machine] = seen.probed[self.machine].max(self.number);
                seen.acknowledged.push((device, opened));
                Sight::Opened(opened.epoch.0)
            }
            Err(ChangeError::NoLeader { .. } | ChangeError::Lapsed | ChangeError::Stopping) => {
                Sight::MaybeOpened
            }
            Err(ChangeError::QueueFull { .. } | ChangeError::Rejected(_) | ChangeError::TooLarge { .. }) => {
                return;
            }
        };
        self.saw(&mut seen, from, sight);
    }

    /// Closes what was newest when this was decided: often too late, which must not matter.
    async fn close(self, registry: Registry) {
        let newest = self.seen.lock().newest[self.device];
        if let Some(epoch) = newest {
            registry.close(self.key(), epoch);
        }
    }

    async fn read(self, registry: Registry) {
        // One at a time: the order in which two that wait for the same entry are told is not the seed's.
        if std::mem::replace(&mut self.seen.lock().reading[self.machine], true) {
            return;
        }
        let (device, from) = (self.key(), self.network.now());
        let read = async {
            let index = registry.read_index().await?;
            registry.wait_applied(index, READER_PATIENCE).await?;
            Ok::<_, rollcall_registry::ReadError>(registry.routes().route(&device.namespace, &device.device))
        };
        let read = read.await;
        let mut seen = self.seen.lock();
        seen.reading[self.machine] = false;
        if let Ok(route) = read {
            let epoch = match route {
                Route::Held { session, .. } => Some(session.epoch.0),
                Route::NotConnected | Route::Disabled { .. } => None,
            };
            self.say(format_args!("read {device}: {epoch:?}"));
            self.saw(&mut seen, from, Sight::Read(epoch));
        }
    }

    fn saw(&self, seen: &mut Seen, from: Duration, sight: Sight) {
        let (device_id, to) = (format!("d{}", self.device), self.network.now());
        seen.sights.push(OwnershipRecord { device_id, from, to, sight });
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        self.trace
            .line(self.network.now(), format_args!("client {} at {}: {what}", self.number, self.machine));
    }
}
