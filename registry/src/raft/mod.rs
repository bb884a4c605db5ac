//! The registry's openraft adapter: the only place that names openraft.

pub mod type_config;
