//! Reading the scripts' inputs: a word, then arguments, some of them `key=value`.

use std::{str::FromStr, sync::Arc, time::Duration};

use rollcall_registry::model::{
    command::{
        ChangeKind, Command, Expect, OpenSession, PutDevice, SessionChange, SetAccessRules, SetGroupPolicy,
        SetPolicy,
    },
    ids::{AttachNumber, DeviceKey, Epoch, Etag, Incarnation, InstanceId, LogIndex, NodeId},
    policy::{GroupPolicy, RegistrationMode},
    profile::{Profile, canonical_labels, canonical_names},
};

/// One line of input.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a>(pub(crate) &'a str);

impl<'a> Line<'a> {
    pub(crate) fn word(self, at: usize) -> &'a str {
        self.words().nth(at).unwrap_or_else(|| panic!("{:?} has no word {at}", self.0))
    }

    pub(crate) fn words(self) -> impl Iterator<Item = &'a str> {
        self.0.split_whitespace().filter(|word| !word.contains('='))
    }

    /// All values of a key, in order.
    pub(crate) fn all(self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let value = move |word: &'a str| word.split_once('=').filter(|(k, _)| *k == key).map(|(_, v)| v);
        self.0.split_whitespace().filter_map(value)
    }

    pub(crate) fn number<T: FromStr>(self, key: &'a str, otherwise: T) -> T {
        let parse = |value: &str| value.parse().ok().unwrap_or_else(|| panic!("{key}={value}"));
        self.all(key).next().map_or(otherwise, parse)
    }

    pub(crate) fn id(self, at: usize) -> u64 {
        self.word(at).parse().unwrap_or_else(|_| panic!("{:?}: word {at} is no number", self.0))
    }

    /// `key=node:incarnation`, each.
    pub(crate) fn lives(self, key: &'a str) -> impl Iterator<Item = (NodeId, Incarnation)> {
        self.all(key).map(|life| {
            let (node, incarnation) = life.split_once(':').unwrap();
            (NodeId(node.parse().unwrap()), Incarnation(incarnation.parse().unwrap()))
        })
    }

    /// `label=key:value`, each.
    pub(crate) fn labels(self) -> Vec<(&'a str, &'a str)> {
        self.all("label").map(|label| label.split_once(':').unwrap()).collect()
    }

    fn profile(self) -> Arc<Profile> {
        let (groups, actions) = (self.all("group"), self.all("action"));
        Arc::new(Profile::new(groups, self.labels(), actions, self.number("capacity", 1)))
    }

    /// `group=` and `label=` without a value: none assigned any more.
    pub(crate) fn put(self, expect: Expect) -> Command {
        let given = |key| self.all(key).next().is_some();
        let groups = || canonical_names(self.all("group").filter(|group| !group.is_empty()));
        let labels = || canonical_labels(self.all("label").filter_map(|label| label.split_once(':')));
        Command::PutDevice(PutDevice {
            device: device(self.word(1)),
            expect,
            new_etag: Etag(self.number("etag", 0)),
            groups: given("group").then(groups),
            labels: given("label").then(labels),
            enabled: self.all("enabled").next().map(|enabled| enabled.parse().unwrap()),
        })
    }

    pub(crate) fn expect(self) -> Expect {
        self.all("if").next().map_or(Expect::AnyRecord, |etag| Expect::Etag(Etag(etag.parse().unwrap())))
    }

    pub(crate) fn policy(self) -> Command {
        let registration = self.words().nth(1).map(|mode| match mode {
            "open" => RegistrationMode::Open,
            "known" => RegistrationMode::Known,
            other => panic!("unknown mode {other:?}"),
        });
        let record_ttl = self.all("ttl").next().map(|ttl| Duration::from_secs(ttl.parse().unwrap()));
        Command::SetPolicy(SetPolicy { registration, record_ttl })
    }

    /// `if=` an etag, `new` if nothing is to be stored; `etag=` the new one; the text, or none.
    pub(crate) fn access_rules(self) -> Command {
        let expect = if self.words().any(|word| word == "new") { Expect::NoRecord } else { self.expect() };
        let text = self.all("text").next().unwrap_or_default().into();
        Command::SetAccessRules(SetAccessRules { expect, new_etag: Etag(self.number("etag", 0)), text })
    }

    /// `default=` and `max=` in milliseconds.
    pub(crate) fn group_policy(self) -> Command {
        let timeout = |key| self.all(key).next().map(|ms| Duration::from_millis(ms.parse().unwrap()));
        let policy = GroupPolicy { default_timeout: timeout("default"), max_timeout: timeout("max") };
        let (namespace, group) = group(self.word(1));
        Command::SetGroupPolicy(SetGroupPolicy { namespace: namespace.into(), group: group.into(), policy })
    }

    /// A row, indented below its sweep.
    pub(crate) fn swept(self, base: u64) -> (DeviceKey, Epoch) {
        (device(self.word(0)), epoch(base, self.word(1)))
    }

    /// A change of a session, indented below its batch.
    pub(crate) fn change(self, base: u64) -> SessionChange {
        let epoch = || epoch(base, self.word(2));
        let kind = match self.word(0) {
            "open" => ChangeKind::Open(OpenSession {
                instance: InstanceId(self.number("inst", 1)),
                attach_number: AttachNumber(self.number("at", 1)),
                profile: self.profile(),
                remote_addr: "".into(),
                only_if: self.all("only_if").next().map(|text| self::epoch(base, text)),
            }),
            "close" => ChangeKind::Close(epoch()),
            "update" => ChangeKind::Update(epoch(), self.profile()),
            other => panic!("unknown change {other:?}"),
        };
        SessionChange { device: device(self.word(1)), kind }
    }
}

/// `id` or `namespace/id`.
pub(crate) fn device(text: &str) -> DeviceKey {
    let (namespace, device) = text.split_once('/').unwrap_or(("", text));
    DeviceKey::new(namespace, device)
}

/// `name` or `namespace/name`.
pub(crate) fn group(text: &str) -> (&str, &str) {
    text.split_once('/').unwrap_or(("default", text))
}

/// `index.position`.
fn epoch(base: u64, text: &str) -> Epoch {
    let (index, position) = text.split_once('.').unwrap_or_else(|| panic!("{text:?} is no epoch"));
    Epoch::new(base, LogIndex(index.parse().unwrap()), position.parse().unwrap())
}
