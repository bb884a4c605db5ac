//! `InvokeStream`, answered by a script instead of a router.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rollcall_node::{
    access::{AccessControl, AccessLayer},
    api::{ArrivalLayer, InvokeApi, Invoker},
    config::{CallLimits, RateLimits},
    limits::STREAM_CALLS,
    telemetry::AccessLog,
};
use rollcall_proto::api::{
    CancelCall, InvokeRequest, InvokeResponse, InvokeStreamRequest, InvokeStreamResponse, Reason as Why,
    invoke_service_client::InvokeServiceClient, invoke_service_server::InvokeServiceServer,
    invoke_stream_request::Kind, invoke_stream_response::Result as Answer,
};
use rollcall_registry::model::ids::{ClusterId, Epoch, LogIndex};
use rollcall_router::{Broadcast, Call, Failure, Outcome, Reason, Reply, Started, Timings};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Streaming, transport::Server};

/// Answers `echo` at once, `wait` when told to, anything else with NO_DEVICE.
#[derive(Clone)]
struct Script {
    gate: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Invoker for Script {
    async fn invoke(&self, call: Call) -> Result<Reply, Failure> {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(Arc::clone(&self.running));
        match call.action.as_str() {
            "echo" => {}
            "wait" => self.gate.acquire().await.expect("a gate").forget(),
            _ => return Err(Failure::not_executed(Reason::NoDevice, "nobody is there")),
        }
        Ok(Reply {
            payload: call.payload,
            content_type: String::new(),
            metadata: Default::default(),
            device_id: "phone-1".into(),
            epoch: Epoch(1),
            node: "n1".into(),
            attempts: 1,
            index: LogIndex(1),
            timings: Timings::default(),
        })
    }

    async fn broadcast(&self, _: Broadcast) -> Result<Started, Failure> {
        Err(Failure::not_executed(Reason::NoDevice, "nobody is there"))
    }

    fn cluster_id(&self) -> Option<ClusterId> {
        Some(ClusterId(1))
    }
}

struct Conversation {
    script: Script,
    closing: CancellationToken,
    requests: Option<mpsc::Sender<InvokeStreamRequest>>,
    answers: Streaming<InvokeStreamResponse>,
}

impl Conversation {
    async fn open() -> Self {
        Self::limited(RateLimits::default()).await
    }

    async fn limited(rates: RateLimits) -> Self {
        let script = Script { gate: Arc::new(Semaphore::new(0)), running: Arc::default() };
        let closing = CancellationToken::new();
        let address = serve(script.clone(), rates, closing.clone()).await;
        let mut client =
            InvokeServiceClient::connect(format!("http://{address}")).await.expect("a connection");
        let (requests, frames) = mpsc::channel(64);
        let answers = client.invoke_stream(ReceiverStream::new(frames)).await.expect("a stream").into_inner();
        Self { script, closing, requests: Some(requests), answers }
    }

    async fn send(&self, tag: u64, kind: Kind) {
        let requests = self.requests.as_ref().expect("the request side is open");
        requests.send(InvokeStreamRequest { tag, kind: Some(kind) }).await.expect("room");
    }

    async fn call(&self, tag: u64, action: &str) {
        let call = InvokeRequest {
            group: "sign".into(),
            action: action.into(),
            payload: tag.to_string().into(),
            ..InvokeRequest::default()
        };
        self.send(tag, Kind::Call(call.into())).await;
    }

    async fn answer(&mut self) -> InvokeStreamResponse {
        let answer = timeout(Duration::from_secs(10), self.answers.message()).await;
        answer.expect("an answer in time").expect("no status").expect("an answer")
    }

    /// The next answer, which is a response under the tag that its payload repeats.
    async fn response(&mut self) -> InvokeResponse {
        let answer = self.answer().await;
        match answer.result {
            Some(Answer::Response(response)) => {
                assert_eq!(response.payload, answer.tag.to_string());
                *response
            }
            other => panic!("no response but {other:?}"),
        }
    }

    async fn failure(&mut self, tag: u64) -> rollcall_proto::api::Failure {
        let answer = self.answer().await;
        assert_eq!(answer.tag, tag);
        match answer.result {
            Some(Answer::Failure(failure)) => *failure,
            other => panic!("tag {tag} did not fail but got {other:?}"),
        }
    }

    async fn wait_for_running(&self, count: usize) {
        let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.script.running.load(Ordering::SeqCst) != count {
            assert!(tokio::time::Instant::now() < give_up, "{count} calls should run");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn serve(script: Script, rates: RateLimits, closing: CancellationToken) -> SocketAddr {
    let limits = CallLimits {
        default_timeout: Duration::from_secs(30),
        max_timeout: Duration::from_secs(300),
        max_payload_bytes: 1 << 20,
    };
    let log = AccessLog { lines_per_second: 0, slow: Duration::MAX };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let api = InvokeApi::new(script, limits, log, Default::default(), closing).limited(rates);
    let service = InvokeServiceServer::new(api);
    let access = AccessLayer::new(AccessControl::open());
    let server = Server::builder().layer(ArrivalLayer).layer(access).add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_any_order_under_their_tags() {
    let mut stream = Conversation::open().await;
    stream.call(7, "wait").await;
    stream.call(8, "echo").await;
    assert_eq!(stream.response().await.payload, "8");
    stream.script.gate.add_permits(1);
    let late = stream.response().await;
    assert_eq!(late.payload, "7");
    assert_eq!(late.cluster_id, ClusterId(1).to_string());
    assert_eq!(late.request_id.len(), 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_does_not_end_the_stream() {
    let mut stream = Conversation::open().await;
    stream.call(1, "dance").await;
    let failure = stream.failure(1).await;
    assert_eq!((failure.reason(), failure.code), (Why::NoDevice, Code::FailedPrecondition as i32));
    stream.send(2, Kind::Call(Box::default())).await;
    let failure = stream.failure(2).await;
    assert_eq!(failure.reason(), Why::InvalidArgument);
    assert_eq!(failure.message, "group: is required");
    stream.call(3, "echo").await;
    assert_eq!(stream.response().await.payload, "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_is_answered_and_dropped() {
    let mut stream = Conversation::open().await;
    stream.call(1, "wait").await;
    stream.wait_for_running(1).await;
    stream.send(1, Kind::Cancel(CancelCall {})).await;
    let failure = stream.failure(1).await;
    assert_eq!(failure.reason(), Why::Cancelled);
    assert_eq!(Outcome::from_proto(failure.outcome()), Outcome::Unknown);
    stream.wait_for_running(0).await;
    stream.send(99, Kind::Cancel(CancelCall {})).await;
    stream.call(1, "echo").await;
    assert_eq!(stream.response().await.payload, "1", "the tag is free again, and an unknown one is no harm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_in_flight_is_not_taken_twice() {
    let mut stream = Conversation::open().await;
    stream.call(1, "wait").await;
    stream.call(1, "echo").await;
    let failure = stream.failure(1).await;
    assert_eq!(failure.message, "tag: a call with this tag is in flight");
    stream.script.gate.add_permits(1);
    assert_eq!(stream.response().await.payload, "1", "the first call goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_bound_are_refused_one_by_one() {
    let mut stream = Conversation::open().await;
    let most = STREAM_CALLS as u64;
    for tag in 0..most {
        stream.call(tag, "wait").await;
    }
    stream.wait_for_running(STREAM_CALLS).await;
    stream.call(most, "echo").await;
    let failure = stream.failure(most).await;
    assert_eq!((failure.reason(), failure.code), (Why::Overloaded, Code::ResourceExhausted as i32));
    stream.script.gate.add_permits(STREAM_CALLS);
    for _ in 0..most {
        stream.response().await;
    }
    stream.call(most, "echo").await;
    assert_eq!(stream.response().await.payload, most.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_request_side_lets_calls_end() {
    let mut stream = Conversation::open().await;
    stream.call(1, "wait").await;
    stream.wait_for_running(1).await;
    stream.requests = None;
    stream.script.gate.add_permits(1);
    assert_eq!(stream.response().await.payload, "1");
    let end = timeout(Duration::from_secs(10), stream.answers.message()).await.expect("an end in time");
    assert!(end.expect("no status").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_cancels_what_is_in_flight() {
    let stream = Conversation::open().await;
    stream.call(1, "wait").await;
    stream.call(2, "wait").await;
    stream.wait_for_running(2).await;
    let script = stream.script.clone();
    drop(stream);
    let give_up = tokio::time::Instant::now() + Duration::from_secs(10);
    while script.running.load(Ordering::SeqCst) != 0 {
        assert!(tokio::time::Instant::now() < give_up, "the calls should be dropped");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_closes_says_so() {
    let mut stream = Conversation::open().await;
    stream.call(1, "echo").await;
    stream.response().await;
    stream.closing.cancel();
    let end = timeout(Duration::from_secs(10), stream.answers.message()).await.expect("an end in time");
    let status = end.expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(
        tonic_types::StatusExt::get_details_error_info(&status).expect("ErrorInfo").reason,
        "SHUTTING_DOWN"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_beyond_every_limit_ends_the_stream_with_its_reason() {
    let mut stream = Conversation::open().await;
    let call = InvokeRequest { payload: vec![0; 5 << 20].into(), ..InvokeRequest::default() };
    stream.send(1, Kind::Call(call.into())).await;
    let end = timeout(Duration::from_secs(10), stream.answers.message()).await.expect("an end in time");
    let status = end.expect_err("a status");
    let info = tonic_types::StatusExt::get_details_error_info(&status).expect("ErrorInfo");
    assert_eq!((status.code(), info.reason.as_str()), (Code::OutOfRange, "PAYLOAD_TOO_LARGE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_no_more_in_flight_than_it_may_and_each_end_makes_room() {
    let mut stream = Conversation::limited(RateLimits { caller_in_flight: 2, ..Default::default() }).await;
    stream.call(1, "wait").await;
    stream.call(2, "wait").await;
    stream.wait_for_running(2).await;
    stream.call(3, "echo").await;
    let refused = stream.failure(3).await;
    assert_eq!((refused.reason(), refused.code), (Why::RateLimited, Code::ResourceExhausted as i32));
    assert_eq!(refused.outcome(), rollcall_proto::api::Outcome::NotExecuted);
    assert!(refused.retry_after.is_some(), "{refused:?}");
    stream.script.gate.add_permits(1);
    stream.response().await;
    stream.call(4, "echo").await;
    assert_eq!(stream.response().await.payload, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_called_no_faster_than_its_rate() {
    let mut stream = Conversation::limited(RateLimits { group_per_second: 1, ..Default::default() }).await;
    stream.call(1, "echo").await;
    stream.response().await;
    // On a machine that stops for a second in between, the next one is let in too.
    for tag in 2.. {
        stream.call(tag, "echo").await;
        match stream.answer().await.result {
            Some(Answer::Failure(failure)) => {
                assert_eq!(failure.reason(), Why::RateLimited);
                assert!(failure.message.contains("`group_rate`"), "{failure:?}");
                return;
            }
            answered => assert!(tag < 100, "{answered:?}"),
        }
    }
}
