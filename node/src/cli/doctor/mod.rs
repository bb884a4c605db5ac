//! `rollcall doctor`: every node's own findings, side by side, and what to do about what is wrong.

mod findings;

use std::time::{Duration, SystemTime};

use clap::Args;
use futures::future::join_all;
use rollcall_proto::api::{
    ExamineNodeRequest, ExamineNodeResponse, GetClusterRequest, Node,
    cluster_service_client::ClusterServiceClient,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use self::findings::{Examined, Finding, Patient, Severity};
use super::{
    CliError, Exit, client, nodes,
    output::{self, Form, Output},
    words,
};
use crate::limits::DOCTOR_PATIENCE;

/// `rollcall doctor`.
///
/// Asks every node of the cluster itself: readiness, versions, clocks, the time a flush of its disk takes, free disk, lease,
/// lag, open files, names that cannot be resolved, settings that should be the same. Exits with 1 if something has to be done.
#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    nodes: client::Nodes,
    #[command(flatten)]
    output: Output,
}

impl Doctor {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let channel = self.nodes.connect().await?;
        let cluster =
            ClusterServiceClient::new(channel.clone()).get_cluster(GetClusterRequest {}).await?.into_inner();
        let members = nodes::all(channel).await?;
        let examined = join_all(members.iter().map(|node| examine(&self.nodes, node))).await;
        let patients: Vec<Patient<'_>> = members
            .iter()
            .zip(&examined)
            .map(|(node, examined)| Patient { node, examined: examined.as_ref() })
            .collect();
        let findings = findings::find(&cluster, &patients);
        match self.output.output {
            Form::Json => output::print_json(&as_json(&patients, &findings))?,
            Form::Text => output::print(&in_words(&patients, &findings))?,
        }
        let bad = findings.iter().filter(|finding| finding.severity == Severity::Bad).count();
        if bad > 0 {
            return Err(CliError::Local(Exit::Refused, format!("{bad} findings have to be looked after")));
        }
        Ok(())
    }
}

/// Asks a node itself; its clock is compared with the middle of the question and the answer.
async fn examine(nodes: &client::Nodes, node: &Node) -> Result<Examined, String> {
    let asked = async {
        let channel = nodes.connect_to(&node.api_addr).await.map_err(|error| error.to_string())?;
        let mut client = ClusterServiceClient::new(channel);
        // The first question opens the connection; its time would count as a difference of clocks.
        client.get_cluster(GetClusterRequest {}).await.map_err(|status| status.message().to_owned())?;
        let request = ExamineNodeRequest { name: node.name.clone() };
        let answer =
            client.examine_node(request).await.map_err(|status| status.message().to_owned())?.into_inner();
        let now = SystemTime::now();
        let clock = answer.clock.and_then(|clock| SystemTime::try_from(clock).ok()).unwrap_or(now);
        let ahead_s = match clock.duration_since(now) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        };
        Ok(Examined { answer, ahead_s })
    };
    timeout(DOCTOR_PATIENCE, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

fn in_words(patients: &[Patient<'_>], findings: &[Finding]) -> String {
    let rows = patients.iter().map(|patient| match patient.examined {
        Err(problem) => {
            let [name, role, state] = who(patient.node);
            let none = String::new;
            [
                name,
                role,
                state,
                problem.lines().next().unwrap_or_default().to_owned(),
                none(),
                none(),
                none(),
                none(),
                none(),
            ]
        }
        Ok(Examined { answer, ahead_s }) => {
            let [name, role, state] = who(patient.node);
            let ready = if answer.ready { "yes" } else { "NO" };
            [
                name,
                role,
                state,
                ready.to_owned(),
                answer.version.clone(),
                format!("{ahead_s:+.3} s"),
                format!("{:.1} ms", seconds(answer.fsync) * 1e3),
                answer.last_log_index.saturating_sub(answer.applied_index).to_string(),
                format!("{:.1} s", seconds(answer.lease_remaining)),
            ]
        }
    });
    let table = output::table(HEADER, rows);
    if findings.is_empty() {
        return format!("{table}\n\nNothing is wrong.");
    }
    let rows = findings.iter().map(|finding| {
        [
            finding.severity.as_str().to_owned(),
            finding.about.clone(),
            finding.what.clone(),
            finding.todo.to_owned(),
        ]
    });
    format!("{table}\n\n{}", output::table(["", "about", "finding", "what to do"], rows))
}

const HEADER: [&str; 9] = ["node", "role", "state", "ready", "version", "clock", "fsync", "lag", "lease"];

fn who(node: &Node) -> [String; 3] {
    [node.name.clone(), words::role(node).to_owned(), words::state(node).to_owned()]
}

fn as_json(patients: &[Patient<'_>], findings: &[Finding]) -> Value {
    let nodes: Vec<Value> = patients.iter().map(patient_json).collect();
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "severity": finding.severity.as_str(),
                "about": finding.about,
                "finding": finding.what,
                "what_to_do": finding.todo,
            })
        })
        .collect();
    json!({ "nodes": nodes, "findings": findings })
}

fn patient_json(patient: &Patient<'_>) -> Value {
    let Examined { answer, ahead_s } = match patient.examined {
        Ok(examined) => examined,
        Err(problem) => return json!({ "node": patient.node.name, "error": problem }),
    };
    json!({
        "node": patient.node.name,
        "role": words::role(patient.node),
        "state": words::state(patient.node),
        "ready": answer.ready,
        "readiness": answer.readiness,
        "version": answer.version,
        "clock_ahead_s": ahead_s,
        "fsync_s": seconds(answer.fsync),
        "applied_index": answer.applied_index,
        "last_log_index": answer.last_log_index,
        "lease_remaining_s": seconds(answer.lease_remaining),
        "disk_free_bytes": answer.disk_free_bytes,
        "disk_bytes": answer.disk_bytes,
        "open_files": answer.open_files,
        "open_files_limit": answer.open_files_limit,
        "names": names(answer),
        "sessions": answer.sessions,
        "calls_in_flight": answer.calls_in_flight,
    })
}

fn names(answer: &ExamineNodeResponse) -> Vec<Value> {
    let name = |found: &rollcall_proto::api::NameFound| json!({ "name": found.name, "error": found.error, "took_s": seconds(found.took) });
    answer.names.iter().map(name).collect()
}

fn seconds(time: Option<prost_types::Duration>) -> f64 {
    time.and_then(|time| Duration::try_from(time).ok()).unwrap_or_default().as_secs_f64()
}
