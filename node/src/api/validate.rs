//! What a request may look like: lengths, counts, required fields, deadlines. Pure.

use std::{borrow::Cow, collections::HashMap, time::Duration};

use compact_str::CompactString;
use rollcall_proto::api::{BroadcastRequest, InvokeRequest};
use rollcall_registry::model::ids::{DEFAULT_NAMESPACE, LogIndex};
use rollcall_router::{
    Broadcast, Call, Failure, Reason,
    limits::{BROADCAST_IN_FLIGHT, BROADCAST_LONGEST, BROADCAST_RATE},
};
use thiserror::Error;

use super::Arrival;
use crate::{
    config::CallLimits,
    limits::{
        AFFINITY_KEY_BYTES, CONTENT_TYPE_BYTES, LABEL_BYTES, LABELS, METADATA_BYTES, METADATA_ENTRIES,
        NAME_BYTES,
    },
};

/// A field that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, as the proto names it.
    pub field: &'static str,
    /// What is wrong, and what is allowed.
    pub problem: Cow<'static, str>,
}

impl Invalid {
    /// A field and its problem.
    pub fn new(field: &'static str, problem: impl Into<Cow<'static, str>>) -> Self {
        Self { field, problem: problem.into() }
    }

    /// The reason that programs see: a payload too large has its own.
    pub fn reason(&self) -> Reason {
        if self.field == PAYLOAD { Reason::PayloadTooLarge } else { Reason::InvalidArgument }
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Failure::not_executed(invalid.reason(), invalid.to_string())
    }
}

const PAYLOAD: &str = "payload";

/// The call that a request asks for.
///
/// # Errors
/// The first field that is not as it must be.
pub fn call(request: InvokeRequest, arrival: Arrival, limits: &CallLimits) -> Result<Call, Invalid> {
    required("group", &request.group)?;
    required("action", &request.action)?;
    name("namespace", &request.namespace)?;
    name("device_id", &request.device_id)?;
    name("request_id", &request.request_id)?;
    at_most("content_type", request.content_type.len(), CONTENT_TYPE_BYTES)?;
    at_most("affinity_key", request.affinity_key.len(), AFFINITY_KEY_BYTES)?;
    at_most(PAYLOAD, request.payload.len(), limits.max_payload_bytes)?;
    metadata(&request.metadata)?;
    labels(&request.labels)?;
    let connect_wait = duration("connect_wait", request.connect_wait)?.unwrap_or_default();
    let timeout = positive("timeout", request.timeout)?;
    Ok(Call {
        namespace: namespace(&request.namespace).into(),
        group: request.group.into(),
        action: request.action.into(),
        device_id: (!request.device_id.is_empty()).then(|| request.device_id.into()),
        payload: request.payload,
        content_type: request.content_type.into(),
        metadata: request.metadata,
        labels: request.labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        affinity_key: (!request.affinity_key.is_empty()).then_some(request.affinity_key),
        request_id: request_id(request.request_id),
        idempotent: request.idempotent,
        connect_wait,
        min_index: LogIndex(request.min_index),
        arrived: arrival.at,
        deadline: arrival.deadline(timeout, limits),
    })
}

/// The broadcast that a request asks for.
///
/// # Errors
/// The first field that is not as it must be.
pub fn broadcast(
    request: BroadcastRequest,
    arrival: Arrival,
    limits: &CallLimits,
) -> Result<Broadcast, Invalid> {
    name("group", &request.group)?;
    if request.group.is_empty() && request.labels.is_empty() {
        return Err(Invalid::new("group", "is required, or labels are"));
    }
    required("action", &request.action)?;
    name("namespace", &request.namespace)?;
    name("request_id", &request.request_id)?;
    at_most("content_type", request.content_type.len(), CONTENT_TYPE_BYTES)?;
    at_most(PAYLOAD, request.payload.len(), limits.max_payload_bytes)?;
    metadata(&request.metadata)?;
    labels(&request.labels)?;
    let timeout = positive("timeout", request.timeout)?;
    let device_timeout = positive("device_timeout", request.device_timeout)?;
    let or = |asked: u32, most: u32| if asked == 0 { most } else { asked };
    Ok(Broadcast {
        namespace: namespace(&request.namespace).into(),
        group: request.group.into(),
        action: request.action.into(),
        payload: request.payload,
        content_type: request.content_type.into(),
        metadata: request.metadata,
        labels: request.labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
        request_id: request_id(request.request_id),
        idempotent: request.idempotent,
        device_timeout: device_timeout.unwrap_or(limits.default_timeout).min(limits.max_timeout),
        rate_per_second: or(request.rate_per_second, BROADCAST_RATE),
        in_flight: or(request.in_flight, BROADCAST_IN_FLIGHT),
        min_index: LogIndex(request.min_index),
        arrived: arrival.at,
        deadline: arrival.within(timeout, BROADCAST_LONGEST, BROADCAST_LONGEST),
    })
}

/// The namespace that is meant.
pub fn namespace(text: &str) -> &str {
    if text.is_empty() { DEFAULT_NAMESPACE } else { text }
}

/// The name of a device.
///
/// # Errors
/// No id, or a part that is too long.
pub fn device(namespace: &str, device_id: &str) -> Result<(), Invalid> {
    name("namespace", namespace)?;
    required("device_id", device_id)
}

/// A name that must be there.
///
/// # Errors
/// Empty, or longer than [`NAME_BYTES`].
pub fn required(field: &'static str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() { Err(Invalid::new(field, "is required")) } else { name(field, text) }
}

/// A name that may be empty.
///
/// # Errors
/// Longer than [`NAME_BYTES`].
pub fn name(field: &'static str, text: &str) -> Result<(), Invalid> {
    at_most(field, text.len(), NAME_BYTES)
}

/// Labels to filter by.
///
/// # Errors
/// Too many, or one too long.
pub fn labels(labels: &HashMap<String, String>) -> Result<(), Invalid> {
    if labels.len() > LABELS {
        return Err(Invalid::new(
            "labels",
            format!("{} entries, at most {LABELS} are allowed", labels.len()),
        ));
    }
    let longest = labels.iter().map(|(key, value)| key.len().max(value.len())).max();
    at_most("labels", longest.unwrap_or_default(), LABEL_BYTES)
}

fn metadata(metadata: &HashMap<String, String>) -> Result<(), Invalid> {
    if metadata.len() > METADATA_ENTRIES {
        let problem = format!("{} entries, at most {METADATA_ENTRIES} are allowed", metadata.len());
        return Err(Invalid::new("metadata", problem));
    }
    let bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
    at_most("metadata", bytes, METADATA_BYTES)
}

fn at_most(field: &'static str, bytes: usize, most: usize) -> Result<(), Invalid> {
    if bytes <= most {
        return Ok(());
    }
    Err(Invalid::new(field, format!("{bytes} bytes, at most {most} are allowed")))
}

fn duration(field: &'static str, given: Option<prost_types::Duration>) -> Result<Option<Duration>, Invalid> {
    let Some(given) = given else { return Ok(None) };
    Duration::try_from(given).map(Some).map_err(|_| Invalid::new(field, "must not be negative"))
}

fn positive(field: &'static str, given: Option<prost_types::Duration>) -> Result<Option<Duration>, Invalid> {
    match duration(field, given)? {
        Some(Duration::ZERO) => Err(Invalid::new(field, "must be positive")),
        given => Ok(given),
    }
}

/// The caller's name for the call, or one of our own: 96 random bits, which a `CompactString` holds in place.
fn request_id(given: String) -> CompactString {
    if !given.is_empty() {
        return given.into();
    }
    compact_str::format_compact!("{:016x}{:08x}", rand::random::<u64>(), rand::random::<u32>())
}
