//! What is wrong, out of what the nodes say of themselves. Pure.

use std::collections::BTreeMap;

use rollcall_proto::api::{ExamineNodeResponse, GetClusterResponse, Node, NodeRole};

use super::seconds;
use crate::limits::{
    APPLY_LAG_MOST, CLOCKS_APART_MOST, DISK_FREE_LEAST_PERCENT, FSYNC_SLOW, NAME_SLOW, OPEN_FILES_LEAST,
};

/// A node, and what it said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patient<'a> {
    pub(super) node: &'a Node,
    pub(super) examined: Result<&'a Examined, &'a String>,
}

/// What a node said of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Examined {
    pub(super) answer: ExamineNodeResponse,
    /// By how much its clock is ahead of this machine's.
    pub(super) ahead_s: f64,
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Something has to be done.
    Bad,
    /// It will hurt under load, or later.
    Warning,
}

impl Severity {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Bad => "BAD",
            Self::Warning => "warning",
        }
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    /// A node, or the cluster.
    pub(super) about: String,
    pub(super) what: String,
    pub(super) todo: &'static str,
}

/// All findings, the bad ones first.
pub(super) fn find(cluster: &GetClusterResponse, patients: &[Patient<'_>]) -> Vec<Finding> {
    let mut findings = about_cluster(cluster);
    findings.extend(patients.iter().flat_map(about_node));
    findings.extend(differences(patients));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn about_cluster(cluster: &GetClusterResponse) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add =
        |severity, what: String, todo| found.push(Finding { severity, about: "cluster".into(), what, todo });
    if !cluster.has_quorum {
        add(
            Severity::Bad,
            "no leader with a quorum".into(),
            "bring voters back: operator's guide, When a quorum is lost",
        );
    } else if cluster.failure_tolerance == 0 && cluster.voters > 1 {
        add(
            Severity::Bad,
            "no further voter may be lost".into(),
            "bring back the voter that is down, or remove it for good",
        );
    }
    if cluster.voters == 1 {
        add(Severity::Warning, "one voter: its loss stops every change".into(), "run three nodes");
    } else if cluster.voters.is_multiple_of(2) {
        add(
            Severity::Warning,
            format!("{} voters bear no more than one fewer", cluster.voters),
            "add a voter, or demote one",
        );
    }
    found
}

fn about_node(patient: &Patient<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add = |severity, what: String, todo| {
        found.push(Finding { severity, about: patient.node.name.clone(), what, todo })
    };
    let Examined { answer, .. } = match patient.examined {
        Ok(examined) => examined,
        Err(problem) => {
            let learner = patient.node.role() == NodeRole::Learner;
            let severity = if learner { Severity::Warning } else { Severity::Bad };
            let what = format!("cannot be asked: {}", problem.replace('\n', " "));
            add(severity, what, "start it, or `rollcall nodes remove` it if it is gone for good");
            return found;
        }
    };
    if !answer.ready {
        add(
            Severity::Bad,
            answer.readiness.replace('\n', ", "),
            "its log and operator's guide, RollcallNodeNotReady",
        );
    }
    let lag = answer.last_log_index.saturating_sub(answer.applied_index);
    if lag > APPLY_LAG_MOST {
        add(
            Severity::Bad,
            format!("{lag} log entries are not applied"),
            "wait, and see that the number falls",
        );
    }
    let free = answer.disk_free_bytes.saturating_mul(100) / answer.disk_bytes.max(1);
    if free < DISK_FREE_LEAST_PERCENT {
        add(
            Severity::Bad,
            format!("{free} % of the disk are free"),
            "enlarge it, or remove archives from the data folder",
        );
    }
    let fsync = seconds(answer.fsync);
    if fsync > FSYNC_SLOW.as_secs_f64() {
        add(
            Severity::Warning,
            format!("a flush of its disk takes {:.0} ms", fsync * 1e3),
            "a faster disk, or fewer neighbours on it",
        );
    }
    if (1..OPEN_FILES_LEAST).contains(&answer.open_files_limit) {
        let what = format!("{} of {} open files used", answer.open_files, answer.open_files_limit);
        let full = answer.open_files.saturating_mul(10) > answer.open_files_limit.saturating_mul(8);
        add(
            if full { Severity::Bad } else { Severity::Warning },
            what,
            "raise the limit: ulimit -n, LimitNOFILE=",
        );
    }
    for name in &answer.names {
        if !name.error.is_empty() {
            add(
                Severity::Bad,
                format!("cannot resolve {}: {}", name.name, name.error),
                "DNS, or the name in `join` or `advertise_*`",
            );
        } else if seconds(name.took) > NAME_SLOW.as_secs_f64() {
            add(
                Severity::Warning,
                format!("resolves {} in {:.1} s", name.name, seconds(name.took)),
                "the resolver of that machine",
            );
        }
    }
    found
}

/// What should be the same on all nodes and is not.
fn differences(patients: &[Patient<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut add =
        |severity, what: String, todo| found.push(Finding { severity, about: "nodes".into(), what, todo });
    let well: Vec<_> =
        patients.iter().filter_map(|patient| Some((patient.node, patient.examined.ok()?))).collect();
    let ahead = well.iter().map(|(_, examined)| examined.ahead_s);
    let apart = ahead.clone().fold(f64::MIN, f64::max) - ahead.fold(f64::MAX, f64::min);
    if apart > CLOCKS_APART_MOST.as_secs_f64() {
        add(Severity::Bad, format!("clocks are {apart:.1} s apart"), "run NTP on all machines");
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut settings: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for (node, examined) in &well {
        versions.entry(&examined.answer.version).or_default().push(&node.name);
        for (key, value) in
            examined.answer.common_settings.iter().filter_map(|setting| setting.split_once('='))
        {
            settings.entry(key).or_default().entry(value).or_default().push(&node.name);
        }
    }
    if versions.len() > 1 {
        add(
            Severity::Warning,
            format!("versions differ: {}", listed(&versions)),
            "finish the upgrade, or take it back",
        );
    }
    for (key, values) in settings.iter().filter(|(_, values)| values.len() > 1) {
        add(
            Severity::Bad,
            format!("{key} differs: {}", listed(values)),
            "give all nodes the same, and restart those that were changed",
        );
    }
    found
}

fn listed(values: &BTreeMap<&str, Vec<&str>>) -> String {
    let parts: Vec<String> =
        values.iter().map(|(value, nodes)| format!("{value} on {}", nodes.join(" "))).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Examined {
        let answer = ExamineNodeResponse {
            version: "1".into(),
            ready: true,
            disk_bytes: 100,
            disk_free_bytes: 50,
            common_settings: vec!["voters=3".into()],
            ..ExamineNodeResponse::default()
        };
        Examined { answer, ahead_s: 0.0 }
    }

    fn cluster() -> GetClusterResponse {
        GetClusterResponse {
            has_quorum: true,
            voters: 3,
            failure_tolerance: 1,
            ..GetClusterResponse::default()
        }
    }

    fn found(cluster: &GetClusterResponse, second: Result<&Examined, &String>) -> Vec<(Severity, String)> {
        let node = |name: &str| Node { name: name.into(), role: NodeRole::Voter as i32, ..Node::default() };
        let (nodes, first) = ([node("n1"), node("n2")], well());
        let patients = [
            Patient { node: &nodes[0], examined: Ok(&first) },
            Patient { node: &nodes[1], examined: second },
        ];
        find(cluster, &patients)
            .into_iter()
            .map(|finding| (finding.severity, format!("{}: {}", finding.about, finding.what)))
            .collect()
    }

    #[test]
    fn a_healthy_cluster_has_no_findings() {
        assert_eq!(found(&cluster(), Ok(&well())), []);
    }

    #[test]
    fn each_ailment_is_found() {
        type Ail = fn(&mut Examined);
        let ailments: [(Ail, Severity, &str); 9] = [
            (|it| it.answer.ready = false, Severity::Bad, "n2: "),
            (
                |it| it.answer.last_log_index = APPLY_LAG_MOST + 1,
                Severity::Bad,
                "n2: 10001 log entries are not applied",
            ),
            (|it| it.answer.disk_free_bytes = 4, Severity::Bad, "n2: 4 % of the disk are free"),
            (
                |it| it.answer.fsync = Some(prost_types::Duration { seconds: 1, nanos: 0 }),
                Severity::Warning,
                "n2: a flush of its disk takes 1000 ms",
            ),
            (
                |it| (it.answer.open_files, it.answer.open_files_limit) = (10, 1024),
                Severity::Warning,
                "n2: 10 of 1024 open files used",
            ),
            (
                |it| (it.answer.open_files, it.answer.open_files_limit) = (1000, 1024),
                Severity::Bad,
                "n2: 1000 of 1024 open files used",
            ),
            (|it| it.ahead_s = -7.0, Severity::Bad, "nodes: clocks are 7.0 s apart"),
            (
                |it| it.answer.version = "2".into(),
                Severity::Warning,
                "nodes: versions differ: 1 on n1, 2 on n2",
            ),
            (
                |it| it.answer.common_settings = vec!["voters=5".into()],
                Severity::Bad,
                "nodes: voters differs: 3 on n1, 5 on n2",
            ),
        ];
        for (ail, severity, what) in ailments {
            let mut second = well();
            ail(&mut second);
            assert_eq!(found(&cluster(), Ok(&second)), [(severity, what.to_owned())]);
        }
    }

    #[test]
    fn what_cannot_be_asked_or_borne_comes_first() {
        let silent = "no answer".to_owned();
        let at_risk = GetClusterResponse { failure_tolerance: 0, ..cluster() };
        let bad = |what: &str| (Severity::Bad, what.to_owned());
        assert_eq!(
            found(&at_risk, Err(&silent)),
            [bad("cluster: no further voter may be lost"), bad("n2: cannot be asked: no answer")]
        );
    }
}
