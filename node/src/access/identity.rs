//! Somebody, and what they may do. Made once for a credential, then asked for each call.

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use serde::Deserialize;
use tonic::Extensions;

use super::{pattern::Pattern, policy::ANYONE};

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Call devices.
    Invoke,
    /// Look at devices, groups, nodes and settings.
    Read,
    /// Follow changes of devices.
    Watch,
    /// Change records, sessions, settings and the membership.
    Administer,
    /// Be a device.
    Attach,
}

/// Verbs, and where they hold: all of its parts must match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) may: Vec<Verb>,
    pub(super) namespaces: Vec<Pattern>,
    pub(super) groups: Vec<Pattern>,
    pub(super) actions: Vec<Pattern>,
    pub(super) devices: Vec<Pattern>,
}

/// Somebody, and what they may do; nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// For people: `token:ci`, `jwt:corp/alice`, `certificate:phone-1`, or `anyone`.
    pub name: String,
    /// The part of it that `{name}` stands for.
    pub(super) own: String,
    /// Of each of its roles.
    pub(super) rules: Vec<Arc<[Rule]>>,
    /// When the credential ends.
    pub(super) expires: Option<SystemTime>,
}

impl Identity {
    /// Who may do anything, where `insecure` lets anybody in.
    pub(crate) fn everybody() -> Self {
        let any = || vec![Pattern::Any];
        let may = vec![Verb::Invoke, Verb::Read, Verb::Watch, Verb::Administer, Verb::Attach];
        let rule = Rule { may, namespaces: any(), groups: any(), actions: any(), devices: any() };
        Self { name: ANYONE.to_owned(), own: String::new(), rules: vec![Arc::new([rule])], expires: None }
    }

    /// Whose request this is, as the layer found out; nobody, who may do nothing, if no layer was asked.
    pub fn of(extensions: &Extensions) -> Arc<Self> {
        static NOBODY: LazyLock<Arc<Identity>> = LazyLock::new(|| {
            Arc::new(Identity {
                name: "nobody".to_owned(),
                own: String::new(),
                rules: Vec::new(),
                expires: None,
            })
        });
        extensions.get::<Arc<Self>>().unwrap_or(&NOBODY).clone()
    }

    fn every_rule(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().flat_map(|rules| rules.iter())
    }

    /// Whether they may do so anywhere at all.
    pub fn may_somewhere(&self, verb: Verb) -> bool {
        self.every_rule().any(|rule| rule.may.contains(&verb))
    }

    /// Whether they may do so in the whole cluster.
    pub fn may_everywhere(&self, verb: Verb) -> bool {
        let all = |patterns: &[Pattern]| patterns.contains(&Pattern::Any);
        self.every_rule().any(|rule| rule.may.contains(&verb) && all(&rule.namespaces) && all(&rule.groups))
    }

    /// Whether they may do so with a group; `None`: with all groups of a namespace.
    pub fn may(&self, verb: Verb, namespace: &str, group: Option<&str>) -> bool {
        self.every_rule().any(|rule| {
            rule.may.contains(&verb) && self.is_in(&rule.namespaces, namespace) && self.is_of(rule, group)
        })
    }

    /// Whether they may call an action of a group; `None`: of devices of any group.
    pub fn may_invoke(&self, namespace: &str, group: Option<&str>, action: &str) -> bool {
        self.every_rule().any(|rule| {
            rule.may.contains(&Verb::Invoke)
                && self.is_in(&rule.namespaces, namespace)
                && self.is_of(rule, group)
                && self.is_in(&rule.actions, action)
        })
    }

    /// Whether they may be this device, and belong to these groups.
    pub fn may_attach<'a>(
        &self,
        namespace: &str,
        device_id: &str,
        groups: impl Iterator<Item = &'a str> + Clone,
    ) -> bool {
        self.every_rule().any(|rule| {
            rule.may.contains(&Verb::Attach)
                && self.is_in(&rule.namespaces, namespace)
                && self.is_in(&rule.devices, device_id)
                && groups.clone().all(|group| self.is_in(&rule.groups, group))
        })
    }

    fn is_in(&self, patterns: &[Pattern], name: &str) -> bool {
        patterns.iter().any(|pattern| pattern.matches(name, &self.own))
    }

    fn is_of(&self, rule: &Rule, group: Option<&str>) -> bool {
        match group {
            Some(group) => self.is_in(&rule.groups, group),
            None => rule.groups.contains(&Pattern::Any),
        }
    }
}
