//! How nodes find each other: founding a cluster together, joining one, and who is promoted to voter.
//!
//! Decisions only, pure; `raft/` asks the questions and carries them out.

pub mod folder;
pub mod founding;
pub mod promotion;
