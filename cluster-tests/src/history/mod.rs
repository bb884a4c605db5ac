//! What a run recorded: calls as their callers saw them, executions as devices saw them, owners as anybody saw them.
//!
//! Only what happened outside of the programs under test; nothing here knows what should have happened.

mod calls;
mod executions;
mod journal;
mod ownership;
mod replicas;
mod syncs;

pub use calls::{CallRecord, Ending, Known};
pub use executions::Execution;
pub use journal::{Journal, OpenCall};
pub use ownership::{OwnershipRecord, Sight};
pub use replicas::ReplicaSight;
pub use syncs::SyncRecord;
