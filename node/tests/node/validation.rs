//! What a call may look like.

use std::{collections::HashMap, time::Duration};

use rollcall_node::{
    api::{Arrival, validate},
    config::CallLimits,
};
use rollcall_proto::api::InvokeRequest;
use rollcall_router::{Call, Reason};

const LIMITS: CallLimits = CallLimits {
    default_timeout: Duration::from_secs(30),
    max_timeout: Duration::from_secs(300),
    max_payload_bytes: 1024,
};

fn request() -> InvokeRequest {
    InvokeRequest { group: "sign".into(), action: "echo".into(), ..InvokeRequest::default() }
}

fn judge(request: InvokeRequest) -> Result<Call, validate::Invalid> {
    validate::call(request, Arrival::now(None), &LIMITS)
}

fn entries(count: usize, length: usize) -> HashMap<String, String> {
    (0..count).map(|at| (format!("{at:0>length$}"), String::new())).collect()
}

#[test]
fn a_plain_call_gets_its_defaults() {
    let call = judge(request()).expect("a call");
    assert_eq!(call.namespace, "default");
    assert_eq!(call.device_id, None);
    assert_eq!(call.affinity_key, None);
    assert_eq!(call.connect_wait, Duration::ZERO);
    assert_eq!(call.deadline - call.arrived, Duration::from_secs(30));
}

#[test]
fn a_call_without_a_name_gets_one_of_its_own() {
    let (one, other) = (judge(request()).expect("a call"), judge(request()).expect("a call"));
    assert_eq!(one.request_id.len(), 24);
    assert!(!one.request_id.is_heap_allocated());
    assert_ne!(one.request_id, other.request_id);
    let named = judge(InvokeRequest { request_id: "r-1".into(), ..request() }).expect("a call");
    assert_eq!(named.request_id, "r-1");
}

#[test]
fn what_is_wrong_is_named_with_its_field() {
    let long = |bytes: usize| "x".repeat(bytes);
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let cases = [
        (InvokeRequest { group: String::new(), ..request() }, "group: is required"),
        (InvokeRequest { action: String::new(), ..request() }, "action: is required"),
        (InvokeRequest { group: long(129), ..request() }, "group: 129 bytes, at most 128 are allowed"),
        (InvokeRequest { action: long(129), ..request() }, "action: 129 bytes, at most 128 are allowed"),
        (
            InvokeRequest { namespace: long(129), ..request() },
            "namespace: 129 bytes, at most 128 are allowed",
        ),
        (
            InvokeRequest { device_id: long(129), ..request() },
            "device_id: 129 bytes, at most 128 are allowed",
        ),
        (
            InvokeRequest { request_id: long(129), ..request() },
            "request_id: 129 bytes, at most 128 are allowed",
        ),
        (
            InvokeRequest { affinity_key: long(1_025), ..request() },
            "affinity_key: 1025 bytes, at most 1024 are allowed",
        ),
        (
            InvokeRequest { metadata: entries(65, 2), ..request() },
            "metadata: 65 entries, at most 64 are allowed",
        ),
        (
            InvokeRequest { metadata: entries(1, 8_193), ..request() },
            "metadata: 8193 bytes, at most 8192 are allowed",
        ),
        (InvokeRequest { labels: entries(33, 2), ..request() }, "labels: 33 entries, at most 32 are allowed"),
        (InvokeRequest { timeout: seconds(0), ..request() }, "timeout: must be positive"),
        (InvokeRequest { timeout: seconds(-1), ..request() }, "timeout: must not be negative"),
        (InvokeRequest { connect_wait: seconds(-1), ..request() }, "connect_wait: must not be negative"),
    ];
    for (request, expected) in cases {
        let invalid = judge(request).expect_err(expected);
        assert_eq!(invalid.to_string(), expected);
        assert_eq!(invalid.reason(), Reason::InvalidArgument);
    }
}

#[test]
fn a_payload_too_large_has_its_own_reason() {
    let most = judge(InvokeRequest { payload: vec![0; 1024].into(), ..request() });
    assert_eq!(most.expect("a call").payload.len(), 1024);
    let invalid = judge(InvokeRequest { payload: vec![0; 1025].into(), ..request() }).expect_err("too large");
    assert_eq!(invalid.to_string(), "payload: 1025 bytes, at most 1024 are allowed");
    assert_eq!(invalid.reason(), Reason::PayloadTooLarge);
}
