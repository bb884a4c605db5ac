//! How nodes find each other: founding a cluster together, joining one, who votes, and who is let back in.
//!
//! Decisions only, pure; `raft/` asks the questions and carries them out.

pub mod change;
pub mod folder;
pub mod founding;
pub(crate) mod level;
pub mod promotion;
pub mod reaping;
pub mod standing;
