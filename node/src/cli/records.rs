//! `rollcall devices create|update|delete|enable|disable|policy`: what an administrator says of devices.

use std::time::Duration;

use clap::{Args, ValueEnum};
use prost_types::FieldMask;
use rollcall_proto::api::{
    CreateDeviceRequest, DeleteDeviceRequest, Device, GetRegistryPolicyRequest, RegistrationMode,
    RegistryPolicy, UpdateDeviceRequest, UpdateRegistryPolicyRequest,
};
use serde_json::{Value, json};

use super::{
    CliError,
    devices::Common,
    output::{self, Form},
    words,
};

/// `rollcall devices create`.
#[derive(Debug, Args)]
pub struct Create {
    /// The device
    device: String,
    /// A group in place of those that it will say; may be repeated [default: those that it will say]
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A label that wins over its own of the same key; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = words::key_value)]
    labels: Vec<(String, String)>,
    /// It may not attach for now
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    common: Common,
}

/// `rollcall devices update`.
#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = ["groups", "own_groups", "labels", "own_labels"])]
pub struct Update {
    /// The device
    device: String,
    /// A group in place of those that it says; may be repeated
    #[arg(long = "group", value_name = "GROUP", conflicts_with = "own_groups")]
    groups: Vec<String>,
    /// Back to the groups that it says
    #[arg(long)]
    own_groups: bool,
    /// A label that wins over its own of the same key; may be repeated, and replaces all that were assigned
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = words::key_value, conflicts_with = "own_labels")]
    labels: Vec<(String, String)>,
    /// Back to the labels that it says
    #[arg(long)]
    own_labels: bool,
    /// Only if the record still has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    common: Common,
}

/// `rollcall devices delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// The device
    device: String,
    /// Only if the record still has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    common: Common,
}

/// `rollcall devices enable` and `disable`.
#[derive(Debug, Args)]
pub struct Switch {
    /// The device
    device: String,
    /// Only if the record still has this etag
    #[arg(long, default_value = "", hide_default_value = true)]
    etag: String,
    #[command(flatten)]
    common: Common,
}

/// Whether a device may attach and be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Enabled,
    Disabled,
}

/// `rollcall devices policy`.
#[derive(Debug, Args)]
pub struct Policy {
    /// Which devices may attach from now on
    #[arg(long, value_enum)]
    registration: Option<Registration>,
    /// How long a record that its device made stays without a session: 1s to 365days
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    record_ttl: Option<Duration>,
    #[command(flatten)]
    common: Common,
}

/// Which devices may attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Registration {
    /// Any; the first attach makes the record.
    Open,
    /// Those that have a record.
    Known,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let request = CreateDeviceRequest {
            namespace: self.common.namespace.clone(),
            device_id: self.device,
            groups: self.groups,
            labels: self.labels.into_iter().collect(),
            disabled: self.disabled,
        };
        let created = self.common.client().await?.create_device(request).await?.into_inner();
        say(form, &created.device.unwrap_or_default(), "registered")
    }
}

impl Update {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut paths = Vec::new();
        if self.own_groups || !self.groups.is_empty() {
            paths.push("groups".to_owned());
        }
        if self.own_labels || !self.labels.is_empty() {
            paths.push("labels".to_owned());
        }
        let request = UpdateDeviceRequest {
            namespace: self.common.namespace.clone(),
            device_id: self.device,
            etag: self.etag,
            groups: self.groups,
            labels: self.labels.into_iter().collect(),
            update_mask: Some(FieldMask { paths }),
            ..UpdateDeviceRequest::default()
        };
        let updated = self.common.client().await?.update_device(request).await?.into_inner();
        say(form, &updated.device.unwrap_or_default(), "updated")
    }
}

impl Delete {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let request = DeleteDeviceRequest {
            namespace: self.common.namespace.clone(),
            device_id: self.device.clone(),
            etag: self.etag,
        };
        let deleted = self.common.client().await?.delete_device(request).await?.into_inner();
        match form {
            Form::Json => output::print_json(&json!({
                "device_id": self.device,
                "index": deleted.index,
                "cluster_id": deleted.cluster_id,
            }))?,
            Form::Text => output::print(&format!("{}: deleted", self.device))?,
        }
        Ok(())
    }
}

impl Switch {
    pub(super) async fn run(self, access: Access) -> Result<(), CliError> {
        let form = self.common.form();
        let request = UpdateDeviceRequest {
            namespace: self.common.namespace.clone(),
            device_id: self.device,
            etag: self.etag,
            enabled: access == Access::Enabled,
            update_mask: Some(FieldMask { paths: vec!["enabled".to_owned()] }),
            ..UpdateDeviceRequest::default()
        };
        let switched = self.common.client().await?.update_device(request).await?.into_inner();
        let done = match access {
            Access::Enabled => "enabled",
            Access::Disabled => "disabled",
        };
        say(form, &switched.device.unwrap_or_default(), done)
    }
}

fn say(form: Form, device: &Device, done: &str) -> Result<(), CliError> {
    match form {
        Form::Json => output::print_json(&words::device(device))?,
        Form::Text => output::print(&format!("{}: {done}, etag {}", device.device_id, device.etag))?,
    }
    Ok(())
}

impl Policy {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut client = self.common.client().await?;
        let policy = if self.registration.is_none() && self.record_ttl.is_none() {
            client.get_registry_policy(GetRegistryPolicyRequest {}).await?.into_inner().policy
        } else {
            let wanted = UpdateRegistryPolicyRequest { policy: Some(self.wanted()?) };
            client.update_registry_policy(wanted).await?.into_inner().policy
        };
        let policy = policy.unwrap_or_default();
        match self.common.form() {
            Form::Json => output::print_json(&as_json(&policy))?,
            Form::Text => output::print(&output::facts([
                ("registration", mode(&policy).to_owned()),
                ("record ttl", humantime::format_duration(record_ttl(&policy)).to_string()),
            ]))?,
        }
        Ok(())
    }

    fn wanted(&self) -> Result<RegistryPolicy, CliError> {
        let registration = match self.registration {
            None => RegistrationMode::Unspecified,
            Some(Registration::Open) => RegistrationMode::Open,
            Some(Registration::Known) => RegistrationMode::Known,
        };
        let record_ttl = self.record_ttl.map(prost_types::Duration::try_from).transpose();
        let record_ttl = record_ttl.map_err(|error| CliError::Usage(format!("--record-ttl: {error}")))?;
        Ok(RegistryPolicy { registration: registration.into(), record_ttl })
    }
}

fn as_json(policy: &RegistryPolicy) -> Value {
    json!({ "registration": mode(policy), "record_ttl_seconds": record_ttl(policy).as_secs_f64() })
}

fn mode(policy: &RegistryPolicy) -> &'static str {
    match policy.registration() {
        RegistrationMode::Unspecified => "unknown",
        RegistrationMode::Open => "open",
        RegistrationMode::Known => "known",
    }
}

fn record_ttl(policy: &RegistryPolicy) -> Duration {
    policy.record_ttl.and_then(|ttl| ttl.try_into().ok()).unwrap_or_default()
}
