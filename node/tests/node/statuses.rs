//! The table from failures to gRPC statuses.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use rollcall_node::api::{
    status::{self, DOMAIN, Refusal},
    validate::Invalid,
};
use rollcall_router::{Failure, Outcome, Reason, Stage};
use tonic::{Code, Status};
use tonic_types::{StatusExt, pb};

/// The design's table, by hand: the code with NOT_EXECUTED, then with UNKNOWN and EXECUTED.
fn expected(reason: Reason) -> (Code, Code) {
    let same = |code| (code, code);
    match reason {
        Reason::HolderUnreachable
        | Reason::HolderFenced
        | Reason::HolderDraining
        | Reason::StaleRoute
        | Reason::NoLeader
        | Reason::DeviceEjected
        | Reason::ShuttingDown
        | Reason::DeviceLost => (Code::Unavailable, Code::Aborted),
        Reason::NoDevice | Reason::NotConnected | Reason::DeviceDisabled => same(Code::FailedPrecondition),
        Reason::ActionUnknown => same(Code::Unimplemented),
        Reason::DeviceBusy
        | Reason::QueueFull
        | Reason::Overloaded
        | Reason::SiteLost
        | Reason::RateLimited => same(Code::ResourceExhausted),
        Reason::PayloadTooLarge => same(Code::OutOfRange),
        Reason::RequestIdConflict => same(Code::AlreadyExists),
        Reason::ReplyLost => same(Code::Aborted),
        Reason::DeviceError => same(Code::Unknown),
        Reason::Deadline => same(Code::DeadlineExceeded),
        Reason::Cancelled => same(Code::Cancelled),
        Reason::Unauthenticated => same(Code::Unauthenticated),
        Reason::PermissionDenied => same(Code::PermissionDenied),
        Reason::InvalidArgument => same(Code::InvalidArgument),
        Reason::Internal => same(Code::Internal),
    }
}

#[test]
fn every_reason_has_the_code_of_the_design() {
    for reason in Reason::ALL {
        let (not_executed, otherwise) = expected(reason);
        assert_eq!(status::code(reason, Outcome::NotExecuted), not_executed, "{reason}");
        assert_eq!(status::code(reason, Outcome::Unknown), otherwise, "{reason}");
        assert_eq!(status::code(reason, Outcome::Executed), otherwise, "{reason}");
    }
}

#[test]
fn what_stock_clients_retry_was_surely_not_executed() {
    for reason in Reason::ALL {
        for outcome in [Outcome::Unknown, Outcome::Executed] {
            assert_ne!(status::code(reason, outcome), Code::Unavailable, "{reason}");
        }
    }
}

fn failures() -> impl Strategy<Value = Failure> {
    let stages = prop::option::of(prop::sample::select(vec![
        Stage::Queue,
        Stage::Forward,
        Stage::Write,
        Stage::Device,
    ]));
    let reasons = prop::sample::select(Reason::ALL.to_vec());
    let outcomes = prop::sample::select(Outcome::ALL.to_vec());
    let name = || prop::option::of("[a-z]{1,9}");
    let pause = prop::option::of((0_u64..100_000).prop_map(Duration::from_millis));
    (reasons, outcomes, ".{0,30}", name(), name(), pause, stages).prop_map(
        |(reason, outcome, message, device, node, retry_after, stage)| Failure {
            reason,
            outcome,
            message: message.into(),
            device_id: device.map(Into::into),
            node: node.map(Into::into),
            retry_after,
            stage,
        },
    )
}

/// How many details of this type a status carries.
fn details(status: &Status, name: &str) -> usize {
    let decoded = pb::Status::decode(status.details()).expect("google.rpc.Status");
    decoded.details.iter().filter(|detail| detail.type_url.ends_with(name)).count()
}

proptest! {
    #[test]
    fn every_status_carries_exactly_one_error_info(failure in failures()) {
        let status = status::of_failure(&failure);
        prop_assert_eq!(details(&status, "google.rpc.ErrorInfo"), 1);
        let retries = details(&status, "google.rpc.RetryInfo");
        prop_assert_eq!(retries, usize::from(failure.retry_after.is_some()));
        let pushback = status.metadata().get("grpc-retry-pushback-ms");
        prop_assert_eq!(pushback.is_some(), failure.retry_after.is_some());

        let info = status.get_details_error_info().expect("ErrorInfo");
        prop_assert_eq!(info.domain, DOMAIN);
        prop_assert_eq!(info.reason, failure.reason.as_str());
        let fact = |key: &str| info.metadata.get(key).map(String::as_str);
        prop_assert_eq!(fact("outcome"), Some(failure.outcome.as_str()));
        prop_assert_eq!(fact("device_id"), failure.device_id.as_deref());
        prop_assert_eq!(fact("node"), failure.node.as_deref());
        prop_assert_eq!(fact("stage"), failure.stage.map(|stage| stage.as_str()));
        prop_assert_eq!(status.message(), failure.message.as_ref());
    }

    #[test]
    fn a_stream_says_the_same_as_a_status(failure in failures()) {
        let status = status::of_failure(&failure);
        let sent = status::to_proto(failure.clone());
        prop_assert_eq!(sent.code, status.code() as i32);
        prop_assert_eq!(sent.reason(), failure.reason.to_proto());
        prop_assert_eq!(sent.outcome(), failure.outcome.to_proto());
        prop_assert_eq!(sent.message, failure.message.as_ref());
        prop_assert_eq!(sent.stage, failure.stage.map(|stage| stage.as_str()).unwrap_or_default());
        prop_assert_eq!(sent.retry_after.is_some(), failure.retry_after.is_some());
    }
}

#[test]
fn an_invalid_field_is_named_for_programs_too() {
    let status = Status::from(Invalid::new("group", "is required"));
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "group: is required");
    assert_eq!(details(&status, "google.rpc.ErrorInfo"), 1);
    let violations = status.get_details_bad_request().expect("BadRequest").field_violations;
    assert_eq!(violations[0].field, "group");
}

#[test]
fn a_refusal_of_a_read_carries_one_error_info() {
    let status = Status::from(Refusal::unknown_device("phone-1"));
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(details(&status, "google.rpc.ErrorInfo"), 1);
}
