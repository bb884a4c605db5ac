//! The registry's openraft adapter: the only place that names openraft.

pub mod entry_codec;
pub mod log_storage;
mod recent_entries;
pub mod type_config;
