//! `rollcall groups`: which there are, and what holds for calls to them.

use std::time::Duration;

use clap::{Args, Subcommand};
use rollcall_proto::api::{
    GetGroupPolicyRequest, Group, GroupPolicy, ListGroupPoliciesRequest, ListGroupsRequest,
    SetGroupPolicyRequest,
};
use serde_json::{Value, json};

use super::{
    CliError,
    devices::Common,
    output::{self, Form},
};
use crate::limits::PAGE_MOST;

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub enum Groups {
    /// List the groups that devices belong to, with what is connected.
    List(List),
    /// List the groups of which something was said.
    Policies(List),
    /// Show what holds for calls to a group, or say it in place of what was said before.
    Policy(Policy),
}

/// `rollcall groups list` and `policies`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    common: Common,
}

/// `rollcall groups policy`.
#[derive(Debug, Args)]
pub struct Policy {
    /// The group; it need not have devices
    group: String,
    /// How long a call may take whose caller does not say: 1ms to 24h
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    default_timeout: Option<Duration>,
    /// How long any call may take; the nodes' own maximum counts too
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_timeout: Option<Duration>,
    /// Nothing any more: as the nodes have it
    #[arg(long, conflicts_with_all = ["default_timeout", "max_timeout"])]
    none: bool,
    #[command(flatten)]
    common: Common,
}

impl Groups {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.groups().await,
            Self::Policies(list) => list.policies().await,
            Self::Policy(policy) => policy.run().await,
        }
    }
}

impl List {
    async fn groups(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut client = self.common.client().await?;
        let mut request = ListGroupsRequest {
            namespace: self.common.namespace,
            page_size: PAGE_MOST as i32,
            ..ListGroupsRequest::default()
        };
        let mut groups: Vec<Group> = Vec::new();
        loop {
            let page = client.list_groups(request.clone()).await?.into_inner();
            groups.extend(page.groups);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        match form {
            Form::Json => {
                let groups: Vec<Value> = groups.iter().map(group_as_json).collect();
                output::print_json(&json!({ "groups": groups }))?;
            }
            Form::Text => {
                let row = |it: &Group| [it.name.clone(), it.connected.to_string(), it.capacity.to_string()];
                let header = ["group", "connected", "capacity"];
                output::print(&output::table(header, groups.iter().map(row)))?;
            }
        }
        Ok(())
    }

    async fn policies(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut client = self.common.client().await?;
        let mut request = ListGroupPoliciesRequest {
            namespace: self.common.namespace,
            page_size: PAGE_MOST as i32,
            ..ListGroupPoliciesRequest::default()
        };
        let mut policies: Vec<GroupPolicy> = Vec::new();
        loop {
            let page = client.list_group_policies(request.clone()).await?.into_inner();
            policies.extend(page.policies);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        match form {
            Form::Json => {
                let policies: Vec<Value> = policies.iter().map(as_json).collect();
                output::print_json(&json!({ "policies": policies }))?;
            }
            Form::Text => {
                let row = |it: &GroupPolicy| {
                    [it.group.clone(), in_words(it.default_timeout), in_words(it.max_timeout)]
                };
                let header = ["group", "default timeout", "max timeout"];
                output::print(&output::table(header, policies.iter().map(row)))?;
            }
        }
        Ok(())
    }
}

impl Policy {
    async fn run(self) -> Result<(), CliError> {
        let form = self.common.form();
        let mut client = self.common.client().await?;
        let says_nothing = self.default_timeout.is_none() && self.max_timeout.is_none() && !self.none;
        let policy = if says_nothing {
            let request = GetGroupPolicyRequest { namespace: self.common.namespace, group: self.group };
            client.get_group_policy(request).await?.into_inner().policy
        } else {
            let wanted = SetGroupPolicyRequest { policy: Some(self.wanted()?) };
            client.set_group_policy(wanted).await?.into_inner().policy
        };
        let policy = policy.unwrap_or_default();
        match form {
            Form::Json => output::print_json(&as_json(&policy))?,
            Form::Text => output::print(&output::facts([
                ("group", policy.group.clone()),
                ("default timeout", in_words(policy.default_timeout)),
                ("max timeout", in_words(policy.max_timeout)),
            ]))?,
        }
        Ok(())
    }

    fn wanted(self) -> Result<GroupPolicy, CliError> {
        Ok(GroupPolicy {
            default_timeout: timeout("--default-timeout", self.default_timeout)?,
            max_timeout: timeout("--max-timeout", self.max_timeout)?,
            namespace: self.common.namespace,
            group: self.group,
        })
    }
}

fn timeout(flag: &str, given: Option<Duration>) -> Result<Option<prost_types::Duration>, CliError> {
    let given = given.map(prost_types::Duration::try_from).transpose();
    given.map_err(|error| CliError::Usage(format!("{flag}: {error}")))
}

fn group_as_json(group: &Group) -> Value {
    json!({ "name": group.name, "connected": group.connected, "capacity": group.capacity })
}

fn as_json(policy: &GroupPolicy) -> Value {
    json!({
        "namespace": policy.namespace,
        "group": policy.group,
        "default_timeout_seconds": given(policy.default_timeout).map(|timeout| timeout.as_secs_f64()),
        "max_timeout_seconds": given(policy.max_timeout).map(|timeout| timeout.as_secs_f64()),
    })
}

fn in_words(timeout: Option<prost_types::Duration>) -> String {
    given(timeout).map(|timeout| humantime::format_duration(timeout).to_string()).unwrap_or_default()
}

fn given(timeout: Option<prost_types::Duration>) -> Option<Duration> {
    timeout.and_then(|timeout| timeout.try_into().ok())
}
