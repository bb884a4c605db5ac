//! The writer's register of cohorts and profiles: finds the one that a row belongs to, and forgets unused ones.

use std::{hash::BuildHasher, sync::Arc};

use compact_str::CompactString;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::{cohort::Cohort, life::Life};
use crate::model::{
    ids::{Incarnation, NodeId},
    profile::Profile,
    record::Assigned,
};

/// All cohorts that have rows, and the profiles they share.
#[derive(Debug, Default)]
pub(super) struct Cohorts {
    table: HashTable<Arc<Cohort>>,
    /// Each profile once, with how often cohorts use it.
    profiles: HashMap<Arc<Profile>, u32>,
    hasher: DefaultHashBuilder,
    next_id: u64,
}

impl Cohorts {
    /// The cohort of these; made if there is none.
    pub(super) fn find_or_make(
        &mut self,
        namespace: &CompactString,
        own: &Arc<Profile>,
        assigned: Option<&Arc<Assigned>>,
        holder: Option<&Arc<Life>>,
    ) -> Arc<Cohort> {
        let life = life_key(holder);
        let hash = hash(&self.hasher, namespace, own, assigned, life);
        let is_it = |cohort: &Arc<Cohort>| {
            life_key(cohort.holder.as_ref()) == life
                && cohort.namespace == *namespace
                && cohort.assigned.as_ref() == assigned
                && (Arc::ptr_eq(&cohort.own, own) || cohort.own == *own)
        };
        if let Some(found) = self.table.find(hash, is_it) {
            return Arc::clone(found);
        }
        let own = self.share(own);
        let profile = self.share(&assigned.map_or_else(|| Arc::clone(&own), |assigned| assigned.over(&own)));
        self.next_id += 1;
        let (id, namespace) = (self.next_id, namespace.clone());
        let cohort = Cohort::new(id, namespace, (own, profile), assigned.cloned(), holder.cloned());
        let cohort = Arc::new(cohort);
        let hasher = &self.hasher;
        self.table.insert_unique(hash, Arc::clone(&cohort), |cohort| hash_of(hasher, cohort));
        cohort
    }

    /// Forgets a cohort that has no rows left, and its profile with its last cohort.
    pub(super) fn forget(&mut self, cohort: &Cohort) {
        let hash = hash_of(&self.hasher, cohort);
        if let Ok(entry) = self.table.find_entry(hash, |probe| probe.id == cohort.id) {
            entry.remove();
        }
        for profile in [&cohort.own, &cohort.profile] {
            if let Some(users) = self.profiles.get_mut(profile) {
                *users -= 1;
                if *users == 0 {
                    self.profiles.remove(profile);
                }
            }
        }
        // Tables never shrink by themselves; the room of profiles that came once would stay for ever.
        if is_sparse(self.table.len(), self.table.capacity()) {
            let (keep, hasher) = (self.table.len() * 2, &self.hasher);
            self.table.shrink_to(keep, |cohort| hash_of(hasher, cohort));
        }
        if is_sparse(self.profiles.len(), self.profiles.capacity()) {
            self.profiles.shrink_to(self.profiles.len() * 2);
        }
    }

    /// All cohorts, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Cohort>> {
        self.table.iter()
    }

    /// How many profiles are in use.
    pub(super) fn profiles(&self) -> usize {
        self.profiles.len()
    }

    fn share(&mut self, profile: &Arc<Profile>) -> Arc<Profile> {
        let users = self.profiles.entry(Arc::clone(profile));
        let shared = Arc::clone(users.key());
        *users.or_insert(0) += 1;
        shared
    }
}

fn is_sparse(used: usize, capacity: usize) -> bool {
    capacity > 64 && used * 8 < capacity
}

/// What a life is told apart by. `None`: closed.
type LifeKey = Option<(NodeId, Incarnation)>;

fn life_key(holder: Option<&Arc<Life>>) -> LifeKey {
    holder.map(|life| (life.node, life.incarnation))
}

fn hash_of(hasher: &DefaultHashBuilder, cohort: &Cohort) -> u64 {
    let life = life_key(cohort.holder.as_ref());
    hash(hasher, &cohort.namespace, &cohort.own, cohort.assigned.as_ref(), life)
}

fn hash(
    hasher: &DefaultHashBuilder,
    namespace: &str,
    profile: &Profile,
    assigned: Option<&Arc<Assigned>>,
    life: LifeKey,
) -> u64 {
    hasher.hash_one((namespace, profile, assigned, life))
}
