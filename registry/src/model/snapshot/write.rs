//! Writing a snapshot's body.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
    sync::Arc,
};

use prost::Message;
use rollcall_proto::storage::{ProfileRecord, SnapshotRecord, snapshot_record::Kind};

use super::SnapshotView;
use crate::{
    codec::{
        access_rules_to_proto, cluster_to_proto, device_to_proto, group_policy_to_proto, node_to_proto,
        profile_to_proto,
    },
    model::{
        ids::{Incarnation, NodeId},
        profile::Profile,
        state::Node,
    },
    routes::row::Row,
};

impl SnapshotView {
    /// Writes the body; returns the number of records. Writes in small pieces: hand it a buffered writer.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        let mut records = Records { out, buffer: Vec::new(), written: 0 };
        records.put(Kind::Cluster(cluster_to_proto(self.cluster.as_ref())))?;
        if let Some(rules) = self.access_rules() {
            records.put(Kind::AccessRules(access_rules_to_proto(rules)))?;
        }
        for (namespace, group, policy) in self.group_policies() {
            records.put(Kind::GroupPolicy(group_policy_to_proto(namespace, group, policy)))?;
        }
        for node in &self.nodes {
            records.put(Kind::Node(node_to_proto(node)))?;
        }
        let mut profiles: HashMap<*const Profile, u32> = HashMap::new();
        let up: HashSet<_> = self.nodes.iter().filter(|node| node.view.up).map(incarnation).collect();
        for row in self.sorted() {
            let next = profiles.len() as u32;
            let number = *profiles.entry(Arc::as_ptr(&row.cohort.own)).or_insert(next);
            if number == next {
                let profile = Some(profile_to_proto(&row.cohort.own));
                records.put(Kind::Profile(ProfileRecord { number, profile }))?;
            }
            // A life may have ended after the snapshot's moment; the nodes' records are of that moment.
            let held = row.open_session().is_some_and(|held| up.contains(&(held.node, held.incarnation)));
            let unused_since = if held { None } else { row.unused_since() };
            records.put(Kind::Device(device_to_proto(row, number, unused_since.unwrap_or_default())))?;
        }
        Ok(records.written)
    }

    /// The rows by namespace and id: the same in every replica, unlike their places.
    fn sorted(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows().collect();
        rows.sort_unstable_by(|a, b| (&a.cohort.namespace, &a.device).cmp(&(&b.cohort.namespace, &b.device)));
        rows
    }
}

fn incarnation(node: &Node) -> (NodeId, Incarnation) {
    (node.view.id, node.view.incarnation)
}

struct Records<'a, W> {
    out: &'a mut W,
    buffer: Vec<u8>,
    written: u64,
}

impl<W: Write> Records<'_, W> {
    fn put(&mut self, kind: Kind) -> io::Result<()> {
        self.buffer.clear();
        SnapshotRecord { kind: Some(kind) }.encode_length_delimited(&mut self.buffer)?;
        self.written += 1;
        self.out.write_all(&self.buffer)
    }
}
