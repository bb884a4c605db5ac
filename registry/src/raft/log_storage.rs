//! openraft's view of the log, over any [`LogBackend`]: converts ids and entries, and keeps the last entries decoded.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
    vote::leader_id_adv::LeaderId,
};
use parking_lot::RwLock;

use super::{
    entry_codec::{decode_entry, encode_entry},
    recent_entries::RecentEntries,
    type_config::{Entry, LogId, TypeConfig, Vote},
};
use crate::{
    limits,
    storage::{LogBackend, StoredEntry, StoredLogId, StoredVote},
};

/// The Raft log; cheap to clone, all clones are the same log.
#[derive(Debug, Clone)]
pub struct RaftLog<B> {
    backend: B,
    recent: Arc<RwLock<RecentEntries>>,
}

impl<B: LogBackend> RaftLog<B> {
    /// The log on this backend.
    pub fn new(backend: B) -> Self {
        Self { backend, recent: Arc::default() }
    }

    /// What it is kept in.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The first entries from `start` on, as many as fit into [`limits::LOG_READ_BYTES`] but at least one.
    async fn read(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        if let Some(entries) = self.recent.read().get(start, end, limits::LOG_READ_BYTES) {
            return Ok(entries);
        }
        let stored = self.backend.read(start..end, limits::LOG_READ_BYTES).await?;
        stored.into_iter().map(|entry| Ok(decode_entry(entry.bytes)?)).collect()
    }

    /// All entries of the range that there are, read bit by bit.
    fn stream<RB: RangeBounds<u64>>(
        &self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + Send + use<B, RB> {
        let state = self.backend.state();
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let (start, end) = (start.max(state.first_index()), end.min(state.next_index()));
        stream::try_unfold((self.clone(), start), move |(log, next)| async move {
            if next >= end {
                return Ok(None);
            }
            let entries = log.read(next, end).await?;
            let following = entries.last().map(|entry| entry.log_id.index + 1);
            Ok::<_, io::Error>(following.map(|next| (stream::iter(entries).map(Ok), (log, next))))
        })
        .try_flatten()
    }
}

impl<B: LogBackend> RaftLogReader<TypeConfig> for RaftLog<B> {
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Box::pin(self.stream(range))
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.stream(range).try_collect().await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.backend.vote().map(vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end).await
    }
}

impl<B: LogBackend> RaftLogStorage<TypeConfig> for RaftLog<B> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let state = self.backend.state();
        Ok(LogState { last_purged_log_id: state.purged.map(log_id), last_log_id: state.last.map(log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        Ok(self.backend.save_vote(stored_vote(vote)).await?)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        Ok(self.backend.save_committed(committed.as_ref().map(stored_log_id))?)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.backend.committed().map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let stored: Vec<StoredEntry> = entries.iter().map(stored_entry).collect();
        let sizes: Vec<usize> = stored.iter().map(|entry| entry.bytes.len()).collect();
        let done = Box::new(|result: Result<(), _>| callback.io_completed(result.map_err(io::Error::from)));
        self.backend.append(stored, done).await?;
        let mut recent = self.recent.write();
        entries.into_iter().zip(sizes).for_each(|(entry, bytes)| recent.push(entry, bytes));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.recent.write().truncate_from(last.map_or(0, |last| last.index + 1));
        Ok(self.backend.truncate_after(last.as_ref().map(stored_log_id)).await?)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.recent.write().purge(upto.index);
        Ok(self.backend.purge(stored_log_id(&upto)).await?)
    }
}

fn stored_entry(entry: &Entry) -> StoredEntry {
    StoredEntry { log_id: stored_log_id(&entry.log_id), bytes: encode_entry(entry) }
}

fn stored_log_id(log_id: &LogId) -> StoredLogId {
    StoredLogId { term: log_id.leader_id.term, leader: log_id.leader_id.node_id, index: log_id.index }
}

fn log_id(stored: StoredLogId) -> LogId {
    LogId { leader_id: LeaderId { term: stored.term, node_id: stored.leader }, index: stored.index }
}

fn stored_vote(vote: &Vote) -> StoredVote {
    StoredVote { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
}

fn vote(stored: StoredVote) -> Vote {
    Vote { leader_id: LeaderId { term: stored.term, node_id: stored.node }, committed: stored.committed }
}
