//! Who is connected at one index: the one look-up of many rows that sees all of them as the same entry left them.

use std::ops::ControlFlow;

use super::Routes;
use crate::model::ids::{LogIndex, namespace_or_default};

/// Which devices are meant.
#[derive(Debug, Clone, Copy)]
pub struct Everyone<'a> {
    /// Their namespace; empty: the default one.
    pub namespace: &'a str,
    /// A group that they belong to. `None`: any, or none.
    pub group: Option<&'a str>,
    /// Labels that they carry, all of them.
    pub labels: &'a [(&'a str, &'a str)],
}

impl Routes {
    /// Visits the id of every device that was connected and enabled at one index, in no order, and gives that index.
    /// Stops early if the visitor says so.
    ///
    /// Holds up the next entry while pointers to the rows are cloned, a millisecond per million rows at most; then reads
    /// every row, without a lock: some ten milliseconds per million.
    pub fn visit_connected(
        &self,
        whom: &Everyone<'_>,
        mut visit: impl FnMut(&str) -> ControlFlow<()>,
    ) -> LogIndex {
        let namespace = namespace_or_default(whom.namespace);
        let tables = self.tables.load();
        let moment = tables.one_moment();
        for row in moment.chunks.iter().flat_map(|chunk| chunk.iter().flatten()) {
            let cohort = &row.cohort;
            let meant = cohort.enabled
                && cohort.namespace == namespace
                && cohort.holder.as_deref().is_some_and(|life| moment.counts(life))
                && whom.group.is_none_or(|group| cohort.profile.belongs_to(group))
                && cohort.profile.carries(whom.labels.iter().copied());
            if meant && visit(&row.device).is_break() {
                break;
            }
        }
        moment.index
    }
}
