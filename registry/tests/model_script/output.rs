//! Writing what the scripts' inputs give, one short line each.

use rollcall_registry::model::{
    event::{CloseCause, Event, SessionRef},
    ids::{Epoch, Etag, UnixMillis},
    policy::GroupPolicy,
    profile::Profile,
    record::Standing,
    rejection::ChangeRejection,
    response::Response,
};
use rollcall_registry::routes::{
    Leftovers,
    view::{DeviceView, NodeView, Route, SessionView},
};

/// `index.position`, or 0 for none.
pub(crate) fn epoch(base: u64, epoch: Epoch) -> String {
    match epoch.0.checked_sub(base) {
        None | Some(0) => epoch.to_string(),
        Some(number) => format!("{}.{}", number >> 12, number & 0xfff),
    }
}

pub(crate) fn response(base: u64, response: &Response) -> String {
    let Response::Batch(outcome) = response else { return response.to_string() };
    let refused: Vec<String> = outcome
        .refused
        .iter()
        .map(|(position, rejection)| format!("\n   change {position} refused: {}", refusal(base, rejection)))
        .collect();
    format!("batch {} applied at {}{}", outcome.number, outcome.index, refused.concat())
}

fn refusal(base: u64, rejection: &ChangeRejection) -> String {
    match rejection {
        ChangeRejection::OlderAttach { newer } => format!("older attach than {}", epoch(base, *newer)),
        ChangeRejection::EpochMismatch { current } => format!("the epoch is {}", epoch(base, *current)),
        ChangeRejection::Disabled => "disabled".into(),
        ChangeRejection::NotRegistered => "not registered".into(),
    }
}

pub(crate) fn event(base: u64, event: &Event) -> String {
    match event {
        Event::Opened { device, session, replaced, .. } => {
            let replaced = replaced.map(|replaced| format!(", replaces {}", session_ref(base, &replaced)));
            format!("opened {device} {}{}", session_ref(base, session), replaced.unwrap_or_default())
        }
        Event::Closed { device, session, cause, .. } => {
            let cause = match cause {
                CloseCause::Asked => "",
                CloseCause::Disabled => ", it is disabled",
                CloseCause::Deleted => ", it is deleted",
                CloseCause::NodeLost => ", its node is lost",
            };
            format!("closed {device} {}{cause}", session_ref(base, session))
        }
        Event::Created { device, profile } => format!("created {device} {}", self::profile(profile)),
        Event::Changed { device, profile } => format!("changed {device} {}", self::profile(profile)),
        Event::Removed { device, .. } => format!("removed {device}"),
        Event::Updated { device, session, profile } => {
            format!("updated {device} {} {}", session_ref(base, session), self::profile(profile))
        }
        Event::NodeUp { node, incarnation } => format!("node {node} up as {incarnation}"),
        Event::NodeDown { node, incarnation, sessions } => {
            format!("node {node} down, was {incarnation}, with {sessions} sessions")
        }
        Event::NodeAdmitted { node } => format!("node {node} admitted"),
        Event::NodeRemoved { node } => format!("node {node} removed"),
        Event::LevelRaised { level } => format!("feature level {level}"),
        Event::BatchApplied(outcome) => format!("batch {} of node {} applied", outcome.number, outcome.node),
    }
}

fn session_ref(base: u64, session: &SessionRef) -> String {
    let SessionRef { node, incarnation, epoch, instance } = session;
    format!("{} on {node}({incarnation}) inst={instance}", self::epoch(base, *epoch))
}

fn session_view(base: u64, session: &SessionView) -> String {
    let SessionView { node, incarnation, epoch, instance, attach_number } = session;
    format!("{} on {node}({incarnation}) inst={instance} at={attach_number}", self::epoch(base, *epoch))
}

fn profile(profile: &Profile) -> String {
    let labels: Vec<String> = profile.labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    format!(
        "groups {:?} labels {labels:?} actions {:?} capacity {}",
        profile.groups, profile.actions, profile.capacity
    )
}

pub(crate) fn route(base: u64, route: &Route) -> String {
    match route {
        Route::Held { session, .. } => format!("held {}", session_view(base, session)),
        Route::NotConnected => "not connected".into(),
        Route::Disabled { .. } => "disabled".into(),
    }
}

pub(crate) fn device(base: u64, view: Option<&DeviceView>) -> String {
    let Some(view) = view else { return "unknown".into() };
    let session = view.session.map_or("no session".into(), |session| session_view(base, &session));
    let enabled = if view.enabled { "enabled" } else { "disabled" };
    format!("{} {enabled}, {session}, {}{}", view.key, profile(&view.profile), standing(&view.standing))
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::SelfMade { away_since: UnixMillis(0) } => String::new(),
        Standing::SelfMade { away_since } => format!(", away since {away_since}"),
        Standing::Registered { etag: Etag(etag), .. } => format!(", registered as {etag}"),
    }
}

pub(crate) fn group_policy(policy: &GroupPolicy) -> String {
    let timeout = |timeout| match timeout {
        Some(timeout) => format!("{timeout:?}"),
        None => "the node's".to_owned(),
    };
    format!("default {}, at most {}", timeout(policy.default_timeout), timeout(policy.max_timeout))
}

pub(crate) fn leftovers(base: u64, found: &Leftovers) -> String {
    let mut expired: Vec<String> = found.expired.iter().map(|device| device.device.to_string()).collect();
    let mut void: Vec<String> =
        found.void.iter().map(|(device, at)| format!("{} {}", device.device, epoch(base, *at))).collect();
    expired.sort();
    void.sort();
    format!("expired {expired:?}, void {void:?}")
}

pub(crate) fn node(view: &NodeView) -> String {
    let up = match (view.up, view.draining) {
        (true, false) => "up",
        (true, true) => "draining",
        (false, _) => "down",
    };
    let NodeView { id, name, incarnation, boot, addresses, version, feature_level, .. } = view;
    format!(
        "{id} {name} {up} incarnation={incarnation} boot={boot} peer={:?} version={version:?}{}",
        addresses.peer,
        if feature_level.0 == 0 { String::new() } else { format!(" level={feature_level}") }
    )
}
