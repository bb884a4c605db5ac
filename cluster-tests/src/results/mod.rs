//! What a torture run found, as a table for people and as the file that alone may claim it.

mod ledger;
mod page;
mod provenance;

pub use ledger::{Ledger, Tally};
pub use page::{check_page, page, table, verdict};
pub use provenance::Provenance;
