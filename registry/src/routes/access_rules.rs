//! Who may do what, as administrators stored it.

use std::sync::Arc;

use super::Routes;
use crate::model::policy::AccessRules;

impl Routes {
    /// What is stored, if anything is. Takes no lock.
    pub fn access_rules(&self) -> Option<Arc<AccessRules>> {
        self.tables.load().roster.load().access_rules.clone()
    }
}
