//! `rollcall devices`: who is there, what happens to them, and ending a session. Records are in `records`.

use clap::{Args, Subcommand};
use rollcall_proto::api::{
    Device, DeviceEventKind, DisconnectDeviceRequest, GetDeviceRequest, ListDevicesRequest, WatchCursor,
    WatchDevicesRequest, WatchDevicesResponse, registry_service_client::RegistryServiceClient,
};
use rollcall_transport::AuthorizedChannel;
use serde_json::{Value, json};

use super::{
    CliError, client,
    output::{self, Form, Output},
    records::{Access, Create, Delete, Policy, Switch, Update},
    words,
};
use crate::limits::PAGE_MOST;

/// What to do with devices.
#[derive(Debug, Subcommand)]
pub enum Devices {
    /// List devices in the order of their ids.
    List(List),
    /// Show one device.
    Get(Get),
    /// Print changes of devices until interrupted.
    Watch(Watch),
    /// End a device's session; it may connect again.
    Disconnect(Disconnect),
    /// Register a device.
    Create(Create),
    /// Change what is assigned to a device.
    Update(Update),
    /// Delete a device's record, and end its session.
    Delete(Delete),
    /// Let a device attach and be called again.
    Enable(Switch),
    /// End a device's session, and let it neither attach nor be called until it is enabled.
    Disable(Switch),
    /// Show the rules for records, or change them.
    Policy(Policy),
}

/// `rollcall devices list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only devices of this group
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
    /// Only devices with this label; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = words::key_value)]
    labels: Vec<(String, String)>,
    /// Only devices that this node holds, by its name
    #[arg(long, default_value = "", hide_default_value = true)]
    node: String,
    /// Only connected devices
    #[arg(long)]
    connected: bool,
    /// At most so many [default: all]
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    #[command(flatten)]
    common: Common,
}

/// `rollcall devices get`.
#[derive(Debug, Args)]
pub struct Get {
    /// The device
    device: String,
    #[command(flatten)]
    common: Common,
}

/// `rollcall devices watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Only devices of this group
    #[arg(long, default_value = "", hide_default_value = true)]
    group: String,
    /// Only this device
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    device: String,
    #[command(flatten)]
    common: Common,
}

/// `rollcall devices disconnect`.
#[derive(Debug, Args)]
pub struct Disconnect {
    /// The device
    device: String,
    /// Only if its session still has this epoch
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    epoch: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// The namespace
    #[arg(long, default_value = "default")]
    pub(super) namespace: String,
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

type Client = RegistryServiceClient<AuthorizedChannel>;

impl Common {
    pub(super) async fn client(&self) -> Result<Client, CliError> {
        Ok(RegistryServiceClient::new(self.nodes.connect().await?))
    }

    pub(super) fn form(&self) -> Form {
        self.output.output
    }
}

impl Devices {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Get(get) => get.run().await,
            Self::Watch(watch) => watch.run().await,
            Self::Disconnect(disconnect) => disconnect.run().await,
            Self::Create(create) => create.run().await,
            Self::Update(update) => update.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Enable(switch) => switch.run(Access::Enabled).await,
            Self::Disable(switch) => switch.run(Access::Disabled).await,
            Self::Policy(policy) => policy.run().await,
        }
    }
}

impl List {
    async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let devices = self.pages().await?;
        match form {
            Form::Json => {
                let devices: Vec<Value> = devices.iter().map(words::device).collect();
                output::print_json(&json!({ "devices": devices }))?;
            }
            Form::Text => output::print(&output::table(HEADER, devices.iter().map(row)))?,
        }
        Ok(())
    }

    async fn pages(self) -> Result<Vec<Device>, CliError> {
        let mut client = self.common.client().await?;
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut request = ListDevicesRequest {
            namespace: self.common.namespace,
            group: self.group,
            labels: self.labels.into_iter().collect(),
            node: self.node,
            connected_only: self.connected,
            page_size: PAGE_MOST.min(limit.max(1)) as i32,
            ..ListDevicesRequest::default()
        };
        let mut devices = Vec::new();
        loop {
            let page = client.list_devices(request.clone()).await?.into_inner();
            devices.extend(page.devices);
            if page.next_page_token.is_empty() || devices.len() >= limit {
                devices.truncate(limit);
                return Ok(devices);
            }
            request.page_token = page.next_page_token;
        }
    }
}

const HEADER: [&str; 8] = ["device", "node", "epoch", "capacity", "groups", "actions", "labels", "state"];

fn row(device: &Device) -> [String; 8] {
    let session = device.session.as_ref();
    let state = match (device.enabled, session) {
        (false, _) => "disabled",
        (true, Some(_)) => "connected",
        (true, None) => "away",
    };
    [
        device.device_id.clone(),
        session.map(|held| held.node.clone()).unwrap_or_default(),
        session.map(|held| held.epoch.to_string()).unwrap_or_default(),
        session.map(|held| held.capacity.to_string()).unwrap_or_default(),
        device.groups.join(","),
        session.map(|held| held.actions.join(",")).unwrap_or_default(),
        words::labels(device),
        state.to_owned(),
    ]
}

impl Get {
    async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut client = self.common.client().await?;
        let request = GetDeviceRequest {
            namespace: self.common.namespace,
            device_id: self.device,
            ..GetDeviceRequest::default()
        };
        let device = client.get_device(request).await?.into_inner().device.unwrap_or_default();
        match form {
            Form::Json => output::print_json(&words::device(&device))?,
            Form::Text => {
                let [id, node, epoch, capacity, groups, actions, labels, state] = row(&device);
                output::print(&output::facts([
                    ("device", id),
                    ("state", state),
                    ("node", node),
                    ("epoch", epoch),
                    ("capacity", capacity),
                    ("groups", groups),
                    ("actions", actions),
                    ("labels", labels),
                    ("record", words::record(&device)),
                    ("etag", device.etag.clone()),
                ]))?;
            }
        }
        Ok(())
    }
}

impl Watch {
    async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut client = self.common.client().await?;
        let request = WatchDevicesRequest {
            namespace: self.common.namespace,
            group: self.group,
            device_id: self.device,
            after: None,
        };
        let mut changes = client.watch_devices(request).await?.into_inner();
        while let Some(change) = changes.message().await? {
            if change.kind() == DeviceEventKind::Unspecified {
                continue;
            }
            output::print(&match form {
                Form::Json => as_json(&change).to_string(),
                Form::Text => in_words(&change),
            })?;
        }
        Ok(())
    }
}

fn kind(change: &WatchDevicesResponse) -> &'static str {
    match change.kind() {
        DeviceEventKind::Unspecified => "unknown",
        DeviceEventKind::Connected => "connected",
        DeviceEventKind::Disconnected => "disconnected",
        DeviceEventKind::Updated => "updated",
        DeviceEventKind::Created => "created",
        DeviceEventKind::Deleted => "deleted",
    }
}

/// One line a change, for `jq` and its like.
fn as_json(change: &WatchDevicesResponse) -> Value {
    let cursor = change.cursor.clone().unwrap_or_default();
    let WatchCursor { cluster_id, index, position } = cursor;
    json!({
        "kind": kind(change),
        "device": change.device.as_ref().map(words::device),
        "cursor": {"cluster_id": cluster_id, "index": index, "position": position},
    })
}

fn in_words(change: &WatchDevicesResponse) -> String {
    let device = change.device.clone().unwrap_or_default();
    let place = match &device.session {
        Some(held) => format!(" on {}, epoch {}", held.node, held.epoch),
        None => String::new(),
    };
    format!("{:<12}  {}{place}", kind(change), device.device_id)
}

impl Disconnect {
    async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut client = self.common.client().await?;
        let request = DisconnectDeviceRequest {
            namespace: self.common.namespace,
            device_id: self.device.clone(),
            epoch: self.epoch,
        };
        let ended = client.disconnect_device(request).await?.into_inner();
        match form {
            Form::Json => output::print_json(&json!({
                "device_id": self.device,
                "epoch": ended.epoch,
                "index": ended.index,
                "cluster_id": ended.cluster_id,
            }))?,
            Form::Text => {
                output::print(&format!("{}: the session of epoch {} has ended", self.device, ended.epoch))?
            }
        }
        Ok(())
    }
}
