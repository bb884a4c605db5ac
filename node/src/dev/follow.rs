//! Staying up: what happens to nodes, leadership and devices is told as it happens.

use std::collections::BTreeMap;

use tokio::time::{MissedTickBehavior, interval};

use super::{
    children::Children, demo_devices::DemoDevices, layout::Layout, limits, picture, terminal::Terminal,
};

/// Tells what happens, until it is dropped.
pub(super) async fn forever(
    layout: &Layout,
    children: &mut Children,
    devices: &DemoDevices,
    terminal: &Terminal,
) {
    let mut seen = Seen { leader: leader(layout).await, devices: devices.states().into_iter().collect() };
    let mut looks = interval(limits::LOOK_EVERY * 3);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            (name, pid, status) = children.one_ended() => {
                terminal.say(format!("{name} (pid {pid}) has ended: {status}; the others go on. To start it again:"));
                terminal.show(&format!("    {}\n", children.command(&name).unwrap_or_default()));
            }
            _ = looks.tick() => seen.look(layout, devices, terminal).await,
        }
    }
}

/// What was told last.
struct Seen {
    leader: Option<String>,
    devices: BTreeMap<String, String>,
}

impl Seen {
    async fn look(&mut self, layout: &Layout, devices: &DemoDevices, terminal: &Terminal) {
        for (name, state) in devices.states() {
            if self.devices.get(&name) != Some(&state) {
                terminal.say(format!("{name} {state}"));
                self.devices.insert(name, state);
            }
        }
        let leader = leader(layout).await;
        if leader != self.leader {
            terminal.say(match &leader {
                Some(name) => format!("{name} leads"),
                None => "nobody leads".to_owned(),
            });
            self.leader = leader;
        }
    }
}

/// The leader, as the first node that answers knows it.
async fn leader(layout: &Layout) -> Option<String> {
    let overview = picture::look(layout).await.ok()?;
    Some(overview.cluster.leader).filter(|name| !name.is_empty() && overview.cluster.has_quorum)
}
