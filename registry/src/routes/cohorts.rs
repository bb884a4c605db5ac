//! The writer's register of cohorts and profiles: finds the one that a row belongs to, and forgets those
//! that stay unused.

use std::{collections::VecDeque, hash::BuildHasher, sync::Arc};

use compact_str::CompactString;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};

use super::{cohort::Cohort, life::Life};
use crate::{
    limits::LINGERING_COHORTS,
    model::{
        ids::{Incarnation, NodeId},
        profile::Profile,
        record::Assigned,
    },
};

/// All cohorts that have rows, a few that had some a moment ago, and the profiles they share.
#[derive(Debug, Default)]
pub(super) struct Cohorts {
    table: HashTable<Arc<Cohort>>,
    /// Each profile once.
    profiles: HashSet<Arc<Profile>>,
    /// How often cohorts use a profile, by where it lies: while it is in here it lies nowhere else, and to find it takes
    /// no look at its names.
    users: HashMap<usize, u32>,
    /// Cohorts that lost their last row. Sessions that close are opened again, and a cohort is dear to make.
    lingering: VecDeque<Arc<Cohort>>,
    hasher: DefaultHashBuilder,
    next_id: u64,
}

impl Cohorts {
    /// The profile that cohorts share if there is one that equals this; else this one.
    pub(super) fn shared(&self, profile: &Arc<Profile>) -> Arc<Profile> {
        if self.users.contains_key(&place(profile)) {
            return Arc::clone(profile);
        }
        Arc::clone(self.profiles.get(profile).unwrap_or(profile))
    }

    /// The cohort of these; made if there is none.
    pub(super) fn find_or_make(
        &mut self,
        namespace: &CompactString,
        own: &Arc<Profile>,
        assigned: Option<&Arc<Assigned>>,
        holder: Option<&Arc<Life>>,
    ) -> Arc<Cohort> {
        let (own, life) = (self.shared(own), life_key(holder));
        let hash = hash(&self.hasher, namespace, &own, assigned, life);
        let is_it = |cohort: &Arc<Cohort>| {
            Arc::ptr_eq(&cohort.own, &own)
                && life_key(cohort.holder.as_ref()) == life
                && cohort.namespace == *namespace
                && cohort.assigned.as_ref() == assigned
        };
        if let Some(found) = self.table.find(hash, is_it) {
            return Arc::clone(found);
        }
        let profile = assigned.map_or_else(|| Arc::clone(&own), |assigned| assigned.over(&own));
        let (own, profile) = (self.share(&own), self.share(&profile));
        self.next_id += 1;
        let (id, namespace) = (self.next_id, namespace.clone());
        let cohort = Cohort::new(id, namespace, (own, profile), assigned.cloned(), holder.cloned());
        let cohort = Arc::new(cohort);
        let hasher = &self.hasher;
        self.table.insert_unique(hash, Arc::clone(&cohort), |cohort| hash_of(hasher, cohort));
        cohort
    }

    /// A cohort has lost its last row. Returns one that has been without rows for long, and is forgotten.
    pub(super) fn emptied(&mut self, cohort: &Arc<Cohort>) -> Option<Arc<Cohort>> {
        if cohort.begin_to_linger() {
            self.lingering.push_back(Arc::clone(cohort));
        }
        if self.lingering.len() <= LINGERING_COHORTS {
            return None;
        }
        let oldest = self.lingering.pop_front()?;
        oldest.end_lingering();
        if oldest.count() > 0 {
            return None;
        }
        self.forget(&oldest);
        Some(oldest)
    }

    /// Forgets a cohort that has no rows left, and its profile with its last cohort.
    fn forget(&mut self, cohort: &Cohort) {
        let hash = hash_of(&self.hasher, cohort);
        if let Ok(entry) = self.table.find_entry(hash, |probe| probe.id == cohort.id) {
            entry.remove();
        }
        for profile in [&cohort.own, &cohort.profile] {
            if let Some(users) = self.users.get_mut(&place(profile)) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(&place(profile));
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
            self.users.shrink_to(self.profiles.len() * 2);
        }
    }

    /// All cohorts, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Cohort>> {
        self.table.iter()
    }

    /// How many profiles are kept.
    pub(super) fn profiles(&self) -> usize {
        self.profiles.len()
    }

    fn share(&mut self, profile: &Arc<Profile>) -> Arc<Profile> {
        let shared = self.shared(profile);
        let users = self.users.entry(place(&shared)).or_insert(0);
        *users += 1;
        if *users == 1 {
            self.profiles.insert(Arc::clone(&shared));
        }
        shared
    }
}

/// Where a profile lies in memory. Nothing that is replicated, and no order, depends on it.
fn place(profile: &Arc<Profile>) -> usize {
    Arc::as_ptr(profile).addr()
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
    profile: &Arc<Profile>,
    assigned: Option<&Arc<Assigned>>,
    life: LifeKey,
) -> u64 {
    hasher.hash_one((namespace, place(profile), assigned, life))
}
